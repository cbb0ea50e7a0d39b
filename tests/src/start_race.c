/*
 * A library for LD_PRELOAD that makes a race of QEMU's own certain.
 *
 * While QEMU up to 10.0.2 sets a monitor up, two threads poll the monitor's listening socket: the main thread, which
 * opened it, and the monitor's I/O thread, which takes it over. If a client connects meanwhile, both may serve it.
 * This library delays the two threads, so that each start ends in the outcome that START_RACE names:
 *
 *   twice       both threads send the greeting
 *   main-hangs  the I/O thread accepts the client; the main thread blocks in accept4, and no command is answered
 *   io-hangs    the main thread accepts the client; the I/O thread blocks in accept4, and no command is answered
 *
 * Each function below replaces one of libc or GLib, and calls the original. A line on standard error reports that the
 * race took place.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum outcome { PLAIN, TWICE, MAIN_HANGS, IO_HANGS };

static enum outcome outcome;

/* The steps that the threads wait for. Each is reached once. */
static atomic_bool io_takes_over;
static atomic_bool main_accepts;
static atomic_bool main_has_accepted;
static atomic_bool main_has_greeted;
static atomic_bool io_accepts;
static atomic_bool io_has_accepted;
static atomic_bool io_has_attached;
static atomic_bool io_is_held;

static pthread_t io_thread;

__attribute__((constructor)) static void choose(void)
{
	const char *name = getenv("START_RACE");
	if (name == NULL)
		return;
	if (strcmp(name, "twice") == 0)
		outcome = TWICE;
	else if (strcmp(name, "main-hangs") == 0)
		outcome = MAIN_HANGS;
	else if (strcmp(name, "io-hangs") == 0)
		outcome = IO_HANGS;
}

/* The original of a function that is replaced here. */
#define ORIGINAL(function)                             \
	static __typeof__(function) *original;         \
	if (original == NULL)                          \
		original = (__typeof__(function) *)dlsym(RTLD_NEXT, #function)

static bool in_main_thread(void)
{
	return gettid() == getpid();
}

/* Returns true to the first caller only. */
static bool reach(atomic_bool *step)
{
	return !atomic_exchange(step, true);
}

/* Waits for a step of the other thread, for 20 s at most. A start whose client never comes has to go on, too. */
static void await(atomic_bool *step)
{
	const struct timespec pause = { .tv_nsec = 100 * 1000 };
	for (int left = 200 * 1000; left > 0 && !atomic_load(step); left--)
		nanosleep(&pause, NULL);
}

static void report(const char *line)
{
	if (write(STDERR_FILENO, line, strlen(line)) < 0)
		return;
}

/* The I/O thread takes the socket over: it first removes the source with which the main thread polls it. The client
 * has to come before that. */
void g_source_destroy(void *source)
{
	ORIGINAL(g_source_destroy);
	if (outcome != PLAIN && !in_main_thread() && reach(&io_takes_over))
		await(&main_accepts);
	original(source);
}

/* The I/O thread polls the socket from now on. */
unsigned g_source_attach(void *source, void *context)
{
	ORIGINAL(g_source_attach);
	unsigned id = original(source, context);
	if (outcome == TWICE && !in_main_thread() && !atomic_load(&io_has_attached)) {
		io_thread = pthread_self();
		atomic_store(&io_has_attached, true);
	}
	return id;
}

/* With the next unlock the I/O thread has taken the socket over. It has not yet looked whether a client is there: if it
 * finds the main thread's client, it greets that client again. */
int pthread_mutex_unlock(pthread_mutex_t *mutex)
{
	ORIGINAL(pthread_mutex_unlock);
	int error = original(mutex);
	if (outcome == TWICE && atomic_load(&io_has_attached) && pthread_equal(io_thread, pthread_self()) &&
	    reach(&io_is_held)) {
		await(&main_has_greeted);
		report("start race: twice\n");
	}
	return error;
}

ssize_t sendmsg(int socket, const struct msghdr *message, int flags)
{
	static const char greeting[] = "{\"QMP\"";
	ORIGINAL(sendmsg);
	ssize_t sent = original(socket, message, flags);
	if (outcome == TWICE && sent >= (ssize_t)sizeof greeting && in_main_thread() &&
	    memcmp(message->msg_iov[0].iov_base, greeting, sizeof greeting - 1) == 0)
		atomic_store(&main_has_greeted, true);
	return sent;
}

typedef int accept_function(int, struct sockaddr *, socklen_t *, int);

/* The main thread's first accept4: the moment to let the I/O thread take the socket over. */
static int accept_in_main(accept_function *original, int socket, struct sockaddr *address, socklen_t *length, int flags)
{
	int client;
	switch (outcome) {
	case MAIN_HANGS:
		await(&io_has_accepted);
		report("start race: main-hangs\n");
		return original(socket, address, length, flags);
	case IO_HANGS:
		await(&io_accepts);
		client = original(socket, address, length, flags);
		atomic_store(&main_has_accepted, true);
		return client;
	default:
		client = original(socket, address, length, flags);
		await(&io_is_held);
		return client;
	}
}

static int accept_in_io(accept_function *original, int socket, struct sockaddr *address, socklen_t *length, int flags)
{
	if (outcome == IO_HANGS && reach(&io_accepts)) {
		await(&main_has_accepted);
		report("start race: io-hangs\n");
	}
	int client = original(socket, address, length, flags);
	atomic_store(&io_has_accepted, true);
	return client;
}

int accept4(int socket, struct sockaddr *address, socklen_t *length, int flags)
{
	ORIGINAL(accept4);
	if (outcome == PLAIN)
		return original(socket, address, length, flags);
	if (!in_main_thread())
		return accept_in_io(original, socket, address, length, flags);
	if (reach(&main_accepts))
		return accept_in_main(original, socket, address, length, flags);
	return original(socket, address, length, flags);
}
