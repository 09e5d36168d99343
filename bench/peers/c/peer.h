/*
 * What both C echo servers share: the frame, the growable buffer, the command
 * line and the reports.
 *
 * A frame is a 4-byte big-endian payload length and the payload; the server
 * answers it with the same frame once it has all of it. A payload longer than
 * 16 MiB closes the connection.
 */
#ifndef PEER_H
#define PEER_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEADER_LEN 4
#define MAX_MESSAGE (16u << 20)

static inline void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

/*
 * A buffer of a connection. The first `whole` bytes are whole frames; `need` is
 * the length of the frame that follows them, 0 while its header is incomplete.
 */
struct buf {
	uint8_t *data;
	size_t len, cap;
	size_t whole, need;
};

static inline void buf_reserve(struct buf *b, size_t cap)
{
	size_t n = b->cap ? b->cap : 4096;

	if (b->cap >= cap)
		return;
	while (n < cap)
		n *= 2;
	b->data = realloc(b->data, n);
	if (!b->data)
		die("realloc");
	b->cap = n;
}

static inline void buf_append(struct buf *b, const uint8_t *data, size_t len)
{
	if (!len)
		return;
	buf_reserve(b, b->len + len);
	memcpy(b->data + b->len, data, len);
	b->len += len;
}

static inline void buf_clear(struct buf *b)
{
	b->len = b->whole = b->need = 0;
}

/* The payload length that a header has. */
static inline uint32_t frame_len(const uint8_t *h)
{
	return (uint32_t)h[0] << 24 | (uint32_t)h[1] << 16 | (uint32_t)h[2] << 8 | h[3];
}

/*
 * Advances over the whole frames in data[*whole..len) and sets the length of
 * the frame that follows. Returns -1 if a frame is too large.
 */
static inline int scan(const uint8_t *data, size_t len, size_t *whole, size_t *need)
{
	*need = 0;
	while (len - *whole >= HEADER_LEN) {
		uint32_t n = frame_len(data + *whole);

		if (n > MAX_MESSAGE)
			return -1;
		if (len - *whole < HEADER_LEN + (size_t)n) {
			*need = HEADER_LEN + (size_t)n;
			return 0;
		}
		*whole += HEADER_LEN + (size_t)n;
	}
	return 0;
}

static inline int buf_scan(struct buf *b)
{
	return scan(b->data, b->len, &b->whole, &b->need);
}

/* Finds ends of frames in bytes that come piece by piece. */
struct tracker {
	uint8_t head[HEADER_LEN];
	unsigned have; /* bytes of head */
	size_t left;   /* of the frame whose header is known */
	bool bad;      /* it is too large */
};

/* Begins behind the bytes of b, which have no whole frame. */
static inline void tracker_init(struct tracker *t, const struct buf *b)
{
	memset(t, 0, sizeof(*t));
	if (b->len < HEADER_LEN) {
		t->have = (unsigned)b->len;
		if (t->have)
			memcpy(t->head, b->data, t->have);
	} else {
		t->left = b->need - b->len;
	}
}

/* Returns where the last whole frame ends in data, 0 if none ends there. */
static inline size_t track(struct tracker *t, const uint8_t *data, size_t len)
{
	size_t pos = 0, end = 0;

	while (pos < len) {
		size_t n;

		if (!t->left && !t->have && len - pos >= HEADER_LEN) {
			t->left = HEADER_LEN + frame_len(data + pos);
		} else if (!t->left) {
			t->head[t->have++] = data[pos++];
			if (t->have < HEADER_LEN)
				continue;
			t->have = 0;
			t->left = frame_len(t->head);
			end = t->left ? end : pos;
		}
		if (t->left > HEADER_LEN + (size_t)MAX_MESSAGE) {
			t->bad = true;
			return 0;
		}
		n = t->left < len - pos ? t->left : len - pos;
		t->left -= n;
		pos += n;
		if (!t->left)
			end = pos;
	}
	return end;
}

/* Allows as many descriptors as may be, as the runtime of Go does. */
static inline void raise_files(void)
{
	struct rlimit limit;

	if (!getrlimit(RLIMIT_NOFILE, &limit)) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* Listens on the argument of `-listen HOST:PORT` (IPv4) and announces it. */
static inline int listen_from_args(int argc, char **argv, int flags)
{
	struct sockaddr_in sa = { .sin_family = AF_INET };
	socklen_t len = sizeof(sa);
	char host[INET_ADDRSTRLEN];
	const char *colon;
	char *end;
	long port;
	int fd, one = 1;

	if (argc != 3 || strcmp(argv[1], "-listen") || !(colon = strrchr(argv[2], ':')))
		goto usage;
	if ((size_t)(colon - argv[2]) >= sizeof(host))
		goto usage;
	memcpy(host, argv[2], colon - argv[2]);
	host[colon - argv[2]] = 0;
	port = strtol(colon + 1, &end, 10);
	if (inet_pton(AF_INET, host, &sa.sin_addr) != 1 || end == colon + 1 || *end ||
	    port < 0 || port > 65535)
		goto usage;
	sa.sin_port = htons((uint16_t)port);

	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
	if (fd < 0)
		die("socket");
	/* Accepted sockets inherit TCP_NODELAY. */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)))
		die("setsockopt");
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)))
		die("bind");
	if (listen(fd, 4096))
		die("listen");
	if (getsockname(fd, (struct sockaddr *)&sa, &len))
		die("getsockname");
	printf("listening %s:%u\n", inet_ntop(AF_INET, &sa.sin_addr, host, sizeof(host)),
	       ntohs(sa.sin_port));
	fflush(stdout);
	return fd;
usage:
	fprintf(stderr, "usage: %s -listen HOST:PORT (IPv4)\n", argv[0]);
	exit(2);
}

/* Blocks SIGTERM and SIGINT and returns a descriptor that is readable at one. */
static inline int termination_fd(void)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	if (sigprocmask(SIG_BLOCK, &set, NULL))
		die("sigprocmask");
	fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (fd < 0)
		die("signalfd");
	signal(SIGPIPE, SIG_IGN);
	return fd;
}

/* Reports the CPU time of the process, as the last thing it does. */
static inline void print_cpu(void)
{
	struct rusage u;

	if (getrusage(RUSAGE_SELF, &u))
		die("getrusage");
	printf("cpu_user_us=%lld cpu_sys_us=%lld\n",
	       (long long)u.ru_utime.tv_sec * 1000000 + u.ru_utime.tv_usec,
	       (long long)u.ru_stime.tv_sec * 1000000 + u.ru_stime.tv_usec);
	fflush(stdout);
}

#endif
