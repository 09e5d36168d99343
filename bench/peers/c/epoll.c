/*
 * len32 echo server on epoll: one thread, edge-triggered, no call to change what
 * a connection waits for.
 *
 * A readable connection costs one recv and one send of all whole frames straight
 * from the buffer, which all connections share while they have nothing left over:
 * so it stays in the cache. A recv that fills its room is followed by another. An
 * incomplete frame moves to the connection's own buffer; a connection that had a
 * large one receives there always. When the socket takes only part, the
 * connection reads nothing until the rest is sent: that is the backpressure.
 */
#define _GNU_SOURCE
#include "peer.h"
#include <stdbool.h>
#include <sys/epoll.h>

#define FIRST_BUFFER (64 << 10)
#define SHARED_BUFFER (128 << 10)
#define MAX_EVENTS 512
#define CONN_EVENTS (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)
#define BURST 4 /* receives of a connection before others have their turn */

struct conn {
	int fd;
	bool writing; /* waits for room in the socket */
	struct buf in;
	size_t sent; /* of in.whole */
};

static int epfd;
static uint8_t shared[SHARED_BUFFER] __attribute__((aligned(4096)));

static void conn_close(struct conn *c)
{
	close(c->fd);
	free(c->in.data);
	free(c);
}

static int watch(struct conn *c, int op, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = c };

	return epoll_ctl(epfd, op, c->fd, &ev);
}

/* Sends up to len bytes until the socket is full. Returns -1 when it is broken. */
static ssize_t send_some(int fd, const uint8_t *data, size_t len)
{
	size_t sent = 0;

	while (sent < len) {
		ssize_t n = send(fd, data + sent, len - sent, MSG_NOSIGNAL);

		if (n >= 0)
			sent += (size_t)n;
		else if (errno == EAGAIN)
			break;
		else if (errno != EINTR)
			return -1;
	}
	return (ssize_t)sent;
}

/* Sends the whole frames of c->in. Returns false when the connection is broken. */
static bool conn_write(struct conn *c)
{
	ssize_t n = send_some(c->fd, c->in.data + c->sent, c->in.whole - c->sent);

	if (n < 0)
		return false;
	c->sent += (size_t)n;
	c->writing = c->sent < c->in.whole;
	if (!c->writing && c->in.whole) {
		c->in.len -= c->in.whole;
		memmove(c->in.data, c->in.data + c->in.whole, c->in.len);
		c->in.whole = c->sent = 0;
	}
	return true;
}

/* Takes n bytes in the shared buffer. Returns false when the connection is broken. */
static bool conn_take_shared(struct conn *c, size_t n)
{
	size_t whole = 0;
	ssize_t sent;

	if (scan(shared, n, &whole, &c->in.need))
		return false;
	sent = send_some(c->fd, shared, whole);
	if (sent < 0)
		return false;
	buf_append(&c->in, shared + sent, n - (size_t)sent);
	c->in.whole = whole - (size_t)sent;
	c->writing = c->in.whole > 0;
	return true;
}

/*
 * Receives once and sends what that completes. Sets *more unless all was
 * received that was there. Returns false when the connection has ended.
 */
static bool conn_read(struct conn *c, bool *more)
{
	bool own = c->in.len || c->in.cap > FIRST_BUFFER;
	uint8_t *data = shared;
	size_t room = sizeof(shared);
	ssize_t n;

	if (own) {
		/* Twice a large frame, so that a read finds room for the next one. */
		buf_reserve(&c->in, 2 * c->in.need > FIRST_BUFFER ? 2 * c->in.need : FIRST_BUFFER);
		data = c->in.data + c->in.len;
		room = c->in.cap - c->in.len;
	}
	n = recv(c->fd, data, room, 0);
	if (n == 0)
		return false;
	if (n < 0) {
		*more = errno == EINTR;
		return errno == EAGAIN || errno == EINTR;
	}
	*more = (size_t)n == room;
	if (!own)
		return conn_take_shared(c, (size_t)n);
	c->in.len += (size_t)n;
	return !buf_scan(&c->in) && conn_write(c);
}

/* Handles an event of c. Returns false when the connection has ended. */
static bool conn_ready(struct conn *c, uint32_t events)
{
	bool more = true;

	if (c->writing && !conn_write(c))
		return false;
	for (int i = 0; more && !c->writing; i++) {
		/* Setting it again makes an event of what is still there. */
		if (i == BURST)
			return !watch(c, EPOLL_CTL_MOD, CONN_EVENTS);
		if (!conn_read(c, &more))
			return false;
		/* The end of the stream has no event of its own after this one. */
		if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
			more = true;
	}
	return true;
}

static void accept_all(int listener)
{
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		struct conn *c;

		if (fd < 0) {
			if (errno == EINTR || errno == ECONNABORTED)
				continue;
			if (errno != EAGAIN)
				perror("accept");
			return;
		}
		c = calloc(1, sizeof(*c));
		if (!c)
			die("calloc");
		c->fd = fd;
		if (watch(c, EPOLL_CTL_ADD, CONN_EVENTS))
			conn_close(c);
	}
}

int main(int argc, char **argv)
{
	static struct epoll_event events[MAX_EVENTS];
	/* Their addresses tell the two other descriptors from connections. */
	struct conn term = { .fd = termination_fd() };
	struct conn listener = { .fd = listen_from_args(argc, argv, SOCK_NONBLOCK) };

	raise_files();
	epfd = epoll_create1(EPOLL_CLOEXEC);
	if (epfd < 0)
		die("epoll_create1");
	if (watch(&term, EPOLL_CTL_ADD, EPOLLIN) || watch(&listener, EPOLL_CTL_ADD, EPOLLIN))
		die("epoll_ctl");

	for (;;) {
		int n = epoll_wait(epfd, events, MAX_EVENTS, -1);

		if (n < 0 && errno != EINTR)
			die("epoll_wait");
		for (int i = 0; i < n; i++) {
			struct conn *c = events[i].data.ptr;

			if (c == &term) {
				print_cpu();
				return 0;
			}
			if (c == &listener)
				accept_all(c->fd);
			else if (!conn_ready(c, events[i].events))
				conn_close(c);
		}
	}
}
