# Sourced by the install scripts: packages by apt-get, as root, with no questions asked.
# shellcheck shell=sh

# English messages: `apt-cache policy` is read. No package may ask anything.
export LC_ALL=C DEBIAN_FRONTEND=noninteractive

say() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
}

# Prepares apt_install for these packages, or ends the script and says why.
prepare_apt() {
	if [ "$(id -u)" = 0 ]; then
		as_root=
	elif command -v sudo >/dev/null; then
		# sudo passes on little of the environment.
		as_root="sudo env LC_ALL=C DEBIAN_FRONTEND=noninteractive"
	else
		say "neither root nor sudo here; please run as root:"
		say "  apt-get update && apt-get install -y --no-install-recommends $*"
		exit 1
	fi
	# One broken source need not stop the install.
	# shellcheck disable=SC2086 # an empty $as_root must vanish
	$as_root apt-get update || say "apt-get update failed; trying with the package lists at hand"
}

apt_install() {
	# shellcheck disable=SC2086
	$as_root apt-get install -y --no-install-recommends "$@"
}
