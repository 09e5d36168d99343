/*
 * len32 echo server on epoll: one thread, level-triggered.
 *
 * A readable connection costs one recv, which takes what is there up to the
 * room in its buffer, and one send of all whole frames straight from that
 * buffer. When the socket takes only part, the connection waits for EPOLLOUT
 * and reads nothing until the rest is sent: that is the backpressure.
 */
#define _GNU_SOURCE
#include "peer.h"
#include <stdbool.h>
#include <sys/epoll.h>

#define FIRST_BUFFER (64 << 10)
#define MAX_EVENTS 512

struct conn {
	int fd;
	bool writing; /* waits for EPOLLOUT */
	struct buf in;
	size_t sent; /* of in.whole */
};

static int epfd;

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

/* Sends the whole frames. Returns false when the connection is broken. */
static bool conn_write(struct conn *c)
{
	while (c->sent < c->in.whole) {
		ssize_t n = send(c->fd, c->in.data + c->sent, c->in.whole - c->sent, MSG_NOSIGNAL);

		if (n >= 0) {
			c->sent += n;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return false;
		if (!c->writing && watch(c, EPOLL_CTL_MOD, EPOLLOUT))
			return false;
		c->writing = true;
		return true;
	}
	if (c->writing && watch(c, EPOLL_CTL_MOD, EPOLLIN))
		return false;
	c->writing = false;
	if (c->in.whole) {
		c->in.len -= c->in.whole;
		memmove(c->in.data, c->in.data + c->in.whole, c->in.len);
		c->in.whole = c->sent = 0;
	}
	/* Twice a large frame, so that a read finds room for the next one. */
	if (c->in.need > c->in.cap / 2)
		buf_reserve(&c->in, 2 * c->in.need);
	return true;
}

/* Returns false when the connection has ended. */
static bool conn_read(struct conn *c)
{
	ssize_t n = recv(c->fd, c->in.data + c->in.len, c->in.cap - c->in.len, 0);

	if (n == 0)
		return false;
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	c->in.len += n;
	if (buf_scan(&c->in))
		return false;
	return conn_write(c);
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
		buf_reserve(&c->in, FIRST_BUFFER);
		if (watch(c, EPOLL_CTL_ADD, EPOLLIN))
			conn_close(c);
	}
}

int main(int argc, char **argv)
{
	static struct epoll_event events[MAX_EVENTS];
	/* Their addresses tell the two other descriptors from connections. */
	struct conn term = { .fd = termination_fd() };
	struct conn listener = { .fd = listen_from_args(argc, argv, SOCK_NONBLOCK) };

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
			else if (!(c->writing ? conn_write(c) : conn_read(c)))
				conn_close(c);
		}
	}
}
