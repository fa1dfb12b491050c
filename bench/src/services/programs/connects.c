// SPDX-License-Identifier: Apache-2.0
/*
 * Connections that are opened and closed, nothing else.
 *
 *     connects server PORT MARKS    accepts on every address. MARKS is `ADDRESS=MSS,...`: these addresses tell a client
 *                                   whom it reached by the segment size in their SYN-ACK, without a byte being sent.
 *     connects client TARGETS       reads ADDRESS:PORT lines from the file, then does what each line on standard input
 *                                   says and answers with one line:
 *       latency MS                  connects one after the other for so long: COUNT MEDIAN MEAN P99, microseconds
 *       rate MS THREADS             as many as go: COUNT SECONDS
 *       every STEP SECONDS          waits until each STEPth target and the last one have taken a connection: NANOSECONDS
 *                                   (CLOCK_MONOTONIC, when the last one did) LATE (how many had to be tried again), or
 *                                   `never INDEX`
 *       reach MSS SECONDS           connects to the first target until it meets this mark: NANOSECONDS TRIES, or `never`
 *       paced RATE MS PATIENCE SLOW begins so many attempts per second for so long, whatever became of those before; each
 *                                   is given up after PATIENCE ms: COUNT FAILED OVER (that took more than SLOW ms)
 *                                   MEDIAN SLOWEST, microseconds
 *       quit
 *
 * Clients close with a reset, so that nothing of a connection stays behind (no TIME_WAIT, no port in use).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BACKLOG 65535
#define MAX_MARKS 64
#define MAX_THREADS 64
/* Drawn before the clock runs: how far the list of targets is spread over memory is no part of what is compared. */
#define DRAWN 16384
#define MAX_TIMES (1 << 20)
#define MAX_OPEN 4096
/* A connection that nobody answers is given up after so long while something is waited for, ms. */
#define ANSWER_MS 10
/* The server looks for connections so seldom that it wakes up once for many: no client waits for it. */
#define SERVER_NAP_NS 500000

static struct sockaddr_in *targets;
static size_t target_count;

static void die(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static uint64_t random_state = 88172645463325252ULL;

static uint64_t draw(void) /* xorshift64 */
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static const char *target_name(const struct sockaddr_in *target)
{
	static char text[32];
	char address[INET_ADDRSTRLEN];
	inet_ntop(AF_INET, &target->sin_addr, address, sizeof(address));
	snprintf(text, sizeof(text), "%s:%u", address, ntohs(target->sin_port));
	return text;
}

/* ---- server ---- */

static int listen_on(in_addr_t address, int port, int mss)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = address};
	int yes = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		die("socket: %s", strerror(errno));
	/* One of them listens on every address, those of the marks included. */
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof(yes));
	if (mss > 0 && setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &mss, sizeof(mss)) != 0)
		die("TCP_MAXSEG %d: %s", mss, strerror(errno));
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(fd, BACKLOG) != 0)
		die("listen on %s: %s", target_name(&at), strerror(errno));
	return fd;
}

static void serve(int port, char *marks)
{
	struct pollfd fds[MAX_MARKS + 1];
	nfds_t count = 0;
	fds[count++] = (struct pollfd){.fd = listen_on(INADDR_ANY, port, 0), .events = POLLIN};
	for (char *mark = strtok(marks, ","); mark != NULL; mark = strtok(NULL, ",")) {
		char *equals = strchr(mark, '=');
		struct in_addr address;
		if (equals == NULL || count > MAX_MARKS)
			die("not a mark: %s", mark);
		*equals = 0;
		if (inet_pton(AF_INET, mark, &address) != 1)
			die("not an address: %s", mark);
		fds[count++] = (struct pollfd){.fd = listen_on(address.s_addr, port, atoi(equals + 1)), .events = POLLIN};
	}
	for (;;) {
		const struct timespec nap = {.tv_nsec = SERVER_NAP_NS};
		if (poll(fds, count, -1) < 0 && errno != EINTR)
			die("poll: %s", strerror(errno));
		for (nfds_t i = 0; i < count; i++)
			for (int fd; (fd = accept4(fds[i].fd, NULL, NULL, SOCK_CLOEXEC)) >= 0;)
				close(fd);
		nanosleep(&nap, NULL);
	}
}

/* ---- client ---- */

static void read_targets(const char *file)
{
	size_t room = 0;
	char line[64];
	FILE *input = fopen(file, "r");
	if (input == NULL)
		die("%s: %s", file, strerror(errno));
	while (fgets(line, sizeof(line), input) != NULL) {
		char *colon = strchr(line, ':');
		if (target_count == room) {
			room = room == 0 ? 1024 : room * 2;
			targets = realloc(targets, room * sizeof(*targets));
			if (targets == NULL)
				die("out of memory");
		}
		struct sockaddr_in *target = &targets[target_count++];
		memset(target, 0, sizeof(*target));
		target->sin_family = AF_INET;
		if (colon == NULL)
			die("not ADDRESS:PORT: %s", line);
		*colon = 0;
		target->sin_port = htons(atoi(colon + 1));
		if (inet_pton(AF_INET, line, &target->sin_addr) != 1)
			die("not an address: %s", line);
	}
	fclose(input);
	if (target_count == 0)
		die("%s has no targets", file);
}

static int new_socket(int flags)
{
	static const struct linger reset = {.l_onoff = 1, .l_linger = 0};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
	if (fd < 0)
		die("socket: %s", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	return fd;
}

/* Nanoseconds that connect() took. */
static uint64_t connect_once(const struct sockaddr_in *target)
{
	int fd = new_socket(0);
	uint64_t start = now_ns();
	if (connect(fd, (const struct sockaddr *)target, sizeof(*target)) != 0)
		die("connect to %s: %s", target_name(target), strerror(errno));
	uint64_t took = now_ns() - start;
	close(fd);
	return took;
}

static void draw_targets(struct sockaddr_in *drawn)
{
	for (int i = 0; i < DRAWN; i++)
		drawn[i] = targets[draw() % target_count];
}

static int by_size(const void *a, const void *b)
{
	uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
	return left < right ? -1 : left > right;
}

static void latency(int ms)
{
	static struct sockaddr_in drawn[DRAWN];
	static uint32_t times[MAX_TIMES];
	size_t count = 0;
	double sum = 0;
	draw_targets(drawn);
	for (uint64_t end = now_ns() + ms * 1000000ULL; count < MAX_TIMES && (count == 0 || now_ns() < end); count++) {
		times[count] = connect_once(&drawn[count % DRAWN]);
		sum += times[count];
	}
	qsort(times, count, sizeof(*times), by_size);
	printf("%zu %.3f %.3f %.3f\n", count, times[count / 2] / 1e3, sum / count / 1e3,
	       times[(size_t)(count * 0.99)] / 1e3);
}

struct worker {
	pthread_t thread;
	pthread_barrier_t *start;
	int ms;
	size_t count;
	uint64_t began, ended;
	struct sockaddr_in drawn[DRAWN];
};

static void *work(void *argument)
{
	struct worker *worker = argument;
	pthread_barrier_wait(worker->start);
	worker->began = now_ns();
	uint64_t end = worker->began + worker->ms * 1000000ULL;
	do {
		connect_once(&worker->drawn[worker->count++ % DRAWN]);
		worker->ended = now_ns();
	} while (worker->ended < end);
	return NULL;
}

static void rate(int ms, int threads)
{
	static struct worker workers[MAX_THREADS];
	pthread_barrier_t start;
	uint64_t began = UINT64_MAX, ended = 0;
	size_t count = 0;
	if (threads < 1 || threads > MAX_THREADS)
		die("1 to %d threads, not %d", MAX_THREADS, threads);
	pthread_barrier_init(&start, NULL, threads);
	for (int i = 0; i < threads; i++) {
		workers[i].start = &start;
		workers[i].ms = ms;
		workers[i].count = 0;
		draw_targets(workers[i].drawn);
	}
	for (int i = 0; i < threads; i++)
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
			die("no thread can be started");
	for (int i = 0; i < threads; i++) {
		pthread_join(workers[i].thread, NULL);
		count += workers[i].count;
		began = workers[i].began < began ? workers[i].began : began;
		ended = workers[i].ended > ended ? workers[i].ended : ended;
	}
	pthread_barrier_destroy(&start);
	printf("%zu %.9f\n", count, (ended - began) / 1e9);
}

/* The socket if the connection was established in time, else -1. Whatever is wrong with it may be over soon. */
static int try_connect(const struct sockaddr_in *target)
{
	int fd = new_socket(SOCK_NONBLOCK);
	if (connect(fd, (const struct sockaddr *)target, sizeof(*target)) == 0)
		return fd;
	if (errno == EINPROGRESS) {
		struct pollfd wait = {.fd = fd, .events = POLLOUT};
		int error = 0;
		socklen_t size = sizeof(error);
		if (poll(&wait, 1, ANSWER_MS) == 1 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 &&
		    error == 0)
			return fd;
	}
	close(fd);
	return -1;
}

static void nap(void)
{
	const struct timespec time = {.tv_nsec = 1000000};
	nanosleep(&time, NULL);
}

static void every(size_t step, int seconds)
{
	uint64_t last = 0, deadline = now_ns() + seconds * 1000000000ULL;
	size_t late = 0;
	if (step < 1)
		die("a step of at least 1");
	for (size_t at = 0;;) {
		bool again = false;
		int fd;
		while ((fd = try_connect(&targets[at])) < 0) {
			again = true;
			if (now_ns() > deadline) {
				printf("never %zu\n", at);
				return;
			}
			nap();
		}
		close(fd);
		if (again)
			late++;
		/* Those that answer at once may have done so for long. */
		if (again || last == 0 || step > 1)
			last = now_ns();
		if (at == target_count - 1)
			break;
		at = at + step < target_count ? at + step : target_count - 1;
	}
	printf("%llu %zu\n", (unsigned long long)last, late);
}

/* A server's mark is what its SYN-ACK allows; what is used is less by the options of each segment. */
static bool is_marked(int fd, int mss)
{
	int seen = 0;
	socklen_t size = sizeof(seen);
	getsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &seen, &size);
	return seen <= mss && seen > mss - 16;
}

static void reach(int mss, int seconds)
{
	uint64_t deadline = now_ns() + seconds * 1000000000ULL;
	for (unsigned long tries = 1; now_ns() < deadline; tries++) {
		int fd = try_connect(&targets[0]);
		if (fd < 0) {
			nap();
			continue;
		}
		bool found = is_marked(fd, mss);
		close(fd);
		if (found) {
			printf("%llu %lu\n", (unsigned long long)now_ns(), tries);
			return;
		}
		/* Those who program want the CPUs, too. */
		if (tries % 16 == 0)
			nap();
	}
	printf("never\n");
}

struct attempts {
	struct pollfd fds[MAX_OPEN];
	uint64_t began[MAX_OPEN];
	size_t open;
	size_t count, failed;
	uint32_t *times;
};

static void end_attempt(struct attempts *all, size_t i, bool failed)
{
	all->times[all->count++] = (now_ns() - all->began[i]) / 1000;
	all->failed += failed;
	close(all->fds[i].fd);
	all->open--;
	all->fds[i] = all->fds[all->open];
	all->began[i] = all->began[all->open];
}

static void begin_attempt(struct attempts *all)
{
	const struct sockaddr_in *target = &targets[draw() % target_count];
	size_t i = all->open++;
	all->fds[i] = (struct pollfd){.fd = new_socket(SOCK_NONBLOCK), .events = POLLOUT};
	all->began[i] = now_ns();
	if (connect(all->fds[i].fd, (const struct sockaddr *)target, sizeof(*target)) == 0)
		end_attempt(all, i, false);
	else if (errno != EINPROGRESS)
		end_attempt(all, i, true);
}

/* Those that have an answer, and those that have waited for too long. */
static void look_at_attempts(struct attempts *all, uint64_t patience_ns)
{
	for (size_t i = all->open; i-- > 0;) {
		int error = 0;
		socklen_t size = sizeof(error);
		if (all->fds[i].revents != 0) {
			getsockopt(all->fds[i].fd, SOL_SOCKET, SO_ERROR, &error, &size);
			end_attempt(all, i, error != 0);
		} else if (now_ns() - all->began[i] > patience_ns) {
			end_attempt(all, i, true);
		}
	}
}

static void paced(int rate, int ms, int patience_ms, int slow_ms)
{
	static struct attempts all;
	static uint32_t times[MAX_TIMES];
	size_t over = 0;
	if (rate < 1 || (uint64_t)rate * patience_ms / 1000 >= MAX_OPEN || (uint64_t)rate * ms / 1000 >= MAX_TIMES)
		die("too many attempts");
	all = (struct attempts){.times = times};
	for (uint64_t start = now_ns(), begun = 0, total = (uint64_t)rate * ms / 1000; begun < total || all.open > 0;) {
		uint64_t next = start + begun * 1000000000ULL / rate, now = now_ns();
		if (begun < total && next <= now) {
			begin_attempt(&all);
			begun++;
			continue;
		}
		/* Whoever is to be given up waits for a millisecond longer at most. */
		poll(all.fds, all.open, 1);
		look_at_attempts(&all, patience_ms * 1000000ULL);
	}
	qsort(times, all.count, sizeof(*times), by_size);
	while (over < all.count && times[all.count - over - 1] > slow_ms * 1000u)
		over++;
	printf("%zu %zu %zu %u %u\n", all.count, all.failed, over, times[all.count / 2], times[all.count - 1]);
}

static bool obey(const char *line)
{
	int first = 0, second = 0, third = 0, fourth = 0;
	if (sscanf(line, "latency %d", &first) == 1)
		latency(first);
	else if (sscanf(line, "rate %d %d", &first, &second) == 2)
		rate(first, second);
	else if (sscanf(line, "every %d %d", &first, &second) == 2)
		every(first, second);
	else if (sscanf(line, "reach %d %d", &first, &second) == 2)
		reach(first, second);
	else if (sscanf(line, "paced %d %d %d %d", &first, &second, &third, &fourth) == 4)
		paced(first, second, third, fourth);
	else if (strncmp(line, "quit", 4) == 0)
		return false;
	else
		die("not understood: %s", line);
	fflush(stdout);
	return true;
}

int main(int argc, char **argv)
{
	char line[128];
	if (argc == 4 && strcmp(argv[1], "server") == 0)
		serve(atoi(argv[2]), argv[3]);
	if (argc != 3 || strcmp(argv[1], "client") != 0)
		die("usage: connects server PORT MARKS | connects client TARGETS");
	read_targets(argv[2]);
	random_state ^= now_ns();
	printf("ready\n");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin) != NULL && obey(line))
		;
	return 0;
}
