/*
 * An echo server of bytes on one ring, with the features of struct echo, and its
 * clients: a closed loop that compares all content.
 *
 * The server sends straight from the buffers it received in. A connection has one
 * send under way, of all pieces that wait.
 */
#define _GNU_SOURCE
#include "trial.h"
#include <sys/epoll.h>
#include <sys/mman.h>

#define QUEUE 512u
#define IOVS 64u
#define OWN_BUFS 2u
#define OWN_LEN (32u << 10)
#define MAX_CONNS 64

/* Byte k of every stream is pattern[k % PERIOD]. */
#define PERIOD 65521u
static uint8_t *pattern;

struct piece {
	uint8_t *data;
	unsigned len, bid;
};

struct conn {
	int fd;
	bool armed, ended;
	struct piece q[QUEUE];
	unsigned head, tail, sending; /* of q; pieces being sent from head */
	size_t send_len;
	struct iovec iov[IOVS];
	struct msghdr msg;
	/* incremental */
	struct io_uring_buf_ring *own;
	uint8_t *own_bufs;
	uint16_t own_tail;
	unsigned used[OWN_BUFS], refs[OWN_BUFS];
	bool spent[OWN_BUFS];
};

enum { OP_RECV, OP_SEND };

static struct server {
	const struct echo *o;
	struct ring ring;
	struct conn *conns;
	int n, ended;
	bool rearm;
	struct io_uring_buf_ring *pool;
	uint8_t *bufs;
	uint16_t tail;
	uint16_t *order;    /* buffer by place in the pool */
	uint16_t *place;    /* and the other way round */
	unsigned long spanning;
	uint64_t answered; /* bytes */
	struct peer *peers; /* as many as conns */
} *srv;

static void add_buf(struct io_uring_buf_ring *ring, uint16_t *tail, unsigned mask, uint8_t *data,
		    unsigned len, unsigned bid)
{
	struct io_uring_buf *b = &ring->bufs[(*tail)++ & mask];

	b->addr = (uintptr_t)data;
	b->len = len;
	b->bid = (uint16_t)bid;
	__atomic_store_n(&ring->tail, *tail, __ATOMIC_RELEASE);
}

static void give_back(struct conn *c, unsigned bid)
{
	const struct echo *o = srv->o;

	if (!o->incremental) {
		srv->place[bid] = srv->tail;
		srv->order[srv->tail & (o->bufs - 1)] = (uint16_t)bid;
		add_buf(srv->pool, &srv->tail, o->bufs - 1, srv->bufs + (size_t)bid * o->buf_len,
			o->buf_len, bid);
		return;
	}
	if (--c->refs[bid] || !c->spent[bid])
		return;
	c->spent[bid] = false;
	c->used[bid] = 0;
	add_buf(c->own, &c->own_tail, OWN_BUFS - 1, c->own_bufs + bid * OWN_LEN, OWN_LEN, bid);
}

static int group_register(struct io_uring_buf_ring **ring, unsigned entries, int group, int flags)
{
	struct buf_reg reg = { .ring_entries = entries, .bgid = (uint16_t)group, .flags = (uint16_t)flags };

	*ring = map(entries * sizeof(struct io_uring_buf), -1, 0);
	reg.ring_addr = (uintptr_t)*ring;
	return ring_register(&srv->ring, IORING_REGISTER_PBUF_RING, &reg, 1);
}

static int server_bufs(void)
{
	const struct echo *o = srv->o;
	int err;

	if (!o->incremental) {
		if ((err = group_register(&srv->pool, o->bufs, 0, 0)) < 0)
			return err;
		srv->bufs = map((size_t)o->bufs * o->buf_len, -1, 0);
		srv->order = calloc(o->bufs, sizeof(*srv->order));
		srv->place = calloc(o->bufs, sizeof(*srv->place));
		check(srv->order && srv->place, "out of memory");
		srv->tail = 0;
		for (unsigned i = 0; i < o->bufs; i++)
			give_back(NULL, i);
		return 0;
	}
	for (int k = 0; k < srv->n; k++) {
		struct conn *c = &srv->conns[k];

		if ((err = group_register(&c->own, OWN_BUFS, k, IOU_PBUF_RING_INC)) < 0)
			return err;
		c->own_bufs = map(OWN_BUFS * OWN_LEN, -1, 0);
		for (unsigned i = 0; i < OWN_BUFS; i++)
			add_buf(c->own, &c->own_tail, OWN_BUFS - 1, c->own_bufs + i * OWN_LEN, OWN_LEN, i);
	}
	return 0;
}

static struct io_uring_sqe *request(struct conn *c, int op, int kind)
{
	int k = (int)(c - srv->conns);
	struct io_uring_sqe *sqe = ring_sqe(&srv->ring, op, srv->o->fixed ? k : c->fd,
					    (uint64_t)k << 1 | (unsigned)kind);

	sqe->flags = srv->o->fixed ? IOSQE_FIXED_FILE : 0;
	return sqe;
}

static void arm(struct conn *c)
{
	struct io_uring_sqe *sqe = request(c, IORING_OP_RECV, OP_RECV);

	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->ioprio = IORING_RECV_MULTISHOT | (srv->o->bundle ? IORING_RECVSEND_BUNDLE : 0);
	sqe->buf_group = (uint16_t)(srv->o->incremental ? c - srv->conns : 0);
	c->armed = true;
}

static void start_send(struct conn *c)
{
	struct io_uring_sqe *sqe;
	unsigned n = 0;

	c->send_len = 0;
	c->sending = 0;
	while (c->head + c->sending != c->tail) {
		struct piece *p = &c->q[(c->head + c->sending) % QUEUE];

		if (n && (uint8_t *)c->iov[n - 1].iov_base + c->iov[n - 1].iov_len == p->data)
			c->iov[n - 1].iov_len += p->len;
		else if (n == IOVS)
			break;
		else
			c->iov[n++] = (struct iovec){ p->data, p->len };
		c->send_len += p->len;
		c->sending++;
	}
	if (n == 1) {
		sqe = request(c, IORING_OP_SEND, OP_SEND);
		sqe->addr = (uintptr_t)c->iov[0].iov_base;
		sqe->len = (unsigned)c->iov[0].iov_len;
	} else {
		c->msg.msg_iov = c->iov;
		c->msg.msg_iovlen = n;
		sqe = request(c, IORING_OP_SENDMSG, OP_SEND);
		sqe->addr = (uintptr_t)&c->msg;
		sqe->len = 1;
	}
	sqe->msg_flags = MSG_NOSIGNAL | MSG_WAITALL;
}

static void got(struct conn *c, uint8_t *data, unsigned len, unsigned bid)
{
	check(c->tail - c->head < QUEUE, "too many pieces wait");
	c->q[c->tail++ % QUEUE] = (struct piece){ data, len, bid };
}

static void on_recv(struct conn *c, int res, unsigned flags)
{
	unsigned bid = flags >> IORING_CQE_BUFFER_SHIFT;
	const struct echo *o = srv->o;

	if (!(flags & IORING_CQE_F_MORE)) {
		c->armed = false;
		srv->rearm = true;
	}
	if (res <= 0) {
		/* A client that found an error resets its connections. */
		if (res == 0 || res == -ECONNRESET || res == -EPIPE) {
			c->ended = true;
			srv->ended++;
		} else if (res != -ENOBUFS) {
			errno = -res;
			die("recv");
		}
		if (flags & IORING_CQE_F_BUFFER && !o->incremental)
			give_back(c, bid);
		return;
	}
	check(flags & IORING_CQE_F_BUFFER, "a receive without a buffer");
	if (o->incremental) {
		uint8_t *data = c->own_bufs + bid * OWN_LEN + c->used[bid];

		c->used[bid] += (unsigned)res;
		c->refs[bid]++;
		if (!(flags & IORING_CQE_F_BUF_MORE))
			c->spent[bid] = true;
		got(c, data, (unsigned)res, bid);
	} else {
		/* A bundle is of buffers that lay one after the other in the pool. */
		uint16_t place = srv->place[bid];
		unsigned left = (unsigned)res;

		if (left > o->buf_len)
			srv->spanning++;
		while (left) {
			unsigned b = srv->order[place++ & (o->bufs - 1)];
			unsigned n = left < o->buf_len ? left : o->buf_len;

			left -= n;
			got(c, srv->bufs + (size_t)b * o->buf_len, n, b);
		}
	}
	if (!c->sending && c->head != c->tail)
		start_send(c);
}

static void on_send(struct conn *c, int res)
{
	if (res >= 0) {
		check((size_t)res == c->send_len, "a send was short");
		srv->answered += c->send_len;
	}
	if (res < 0 && res != -EPIPE && res != -ECONNRESET) {
		errno = -res;
		die("send");
	}
	for (; c->sending; c->sending--)
		give_back(c, c->q[c->head++ % QUEUE].bid);
	if (c->head != c->tail)
		start_send(c);
}

static void turn(unsigned wait)
{
	struct io_uring_cqe cqe;

	ring_enter(&srv->ring, wait);
	while (ring_next(&srv->ring, &cqe)) {
		struct conn *c = &srv->conns[cqe.user_data >> 1];

		if ((cqe.user_data & 1) == OP_RECV)
			on_recv(c, cqe.res, cqe.flags);
		else
			on_send(c, cqe.res);
	}
	for (int k = 0; srv->rearm && k < srv->n; k++)
		if (!srv->conns[k].armed && !srv->conns[k].ended)
			arm(&srv->conns[k]);
	srv->rearm = false;
}

static void arm_all(void)
{
	for (int k = 0; k < srv->n; k++)
		arm(&srv->conns[k]);
}

static void serve(void)
{
	arm_all();
	while (srv->ended < srv->n)
		turn(srv->o->wait_nr ? srv->o->wait_nr : 1);
}

/* A connection of the client. Offsets are of the streams of bytes. */
struct peer {
	int fd;
	uint64_t want, sent, got;
	uint64_t *stamp; /* of the message n: [n % depth] */
};

#define LATENCIES (1u << 20)
#define SLICES 1000
#define SLICE_NS 5000000u
#define MIN_MESSAGES 200 /* of a window, however slow */

struct client {
	const struct echo *o;
	struct peer *peers;
	clockid_t server;
	struct echo_result *res;
};

static uint64_t server_cpu(struct client *c)
{
	struct timespec ts;

	if (clock_gettime(c->server, &ts))
		die("clock of the server");
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void flush(struct peer *p)
{
	while (p->sent < p->want) {
		uint64_t n = p->want - p->sent < PERIOD ? p->want - p->sent : PERIOD;
		ssize_t res = send(p->fd, pattern + p->sent % PERIOD, n, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (res < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (res < 0)
			die("client: send");
		p->sent += (uint64_t)res;
	}
}

static bool same(const uint8_t *data, size_t n, uint64_t at)
{
	while (n) {
		size_t k = n < PERIOD ? n : PERIOD;

		if (memcmp(data, pattern + at % PERIOD, k))
			return false;
		data += k;
		n -= k;
		at += k;
	}
	return true;
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void *client_run(void *arg)
{
	struct client *c = arg;
	const struct echo *o = c->o;
	uint64_t warm, end, messages = 0, open = 0, now;
	uint64_t slice = 0, slice_cpu = 0, slice_messages = 0;
	static double slices[SLICES];
	int n_slices = 0;
	uint32_t *lat = malloc(LATENCIES * sizeof(*lat));
	uint8_t *buf = malloc(256 << 10);
	struct epoll_event ev, evs[64];
	int ep = epoll_create1(EPOLL_CLOEXEC);
	size_t n_lat = 0;
	bool measuring = false, ending = false;

	pin(opt.peer_cpu);
	check(lat && buf && ep >= 0, "client: out of memory");
	now = now_ns();
	for (int k = 0; k < o->conns; k++) {
		struct peer *p = &c->peers[k];

		ev.events = EPOLLIN | EPOLLOUT | EPOLLET;
		ev.data.u32 = (uint32_t)k;
		if (epoll_ctl(ep, EPOLL_CTL_ADD, p->fd, &ev))
			die("epoll_ctl");
		for (int i = 0; i < o->depth; i++)
			p->stamp[i] = now;
		p->want = (uint64_t)o->depth * (uint64_t)o->size;
		open += (uint64_t)o->depth;
		flush(p);
	}
	warm = now + (uint64_t)opt.ms * 1000000 / 4;
	end = warm + (uint64_t)opt.ms * 1000000;
	while (open && !c->res->corrupt) {
		int n = epoll_wait(ep, evs, 64, 5000);

		if (n < 0 && errno == EINTR)
			continue;
		check(n > 0, "the echo stalls");
		now = now_ns();
		if (!measuring && now >= warm) {
			measuring = true;
			slice = now;
			slice_cpu = server_cpu(c);
		}
		if (measuring && !ending && now - slice >= SLICE_NS && messages > slice_messages) {
			uint64_t cpu = server_cpu(c);

			if (n_slices < SLICES)
				slices[n_slices++] = (double)(cpu - slice_cpu) / (double)(messages - slice_messages);
			slice = now;
			slice_cpu = cpu;
			slice_messages = messages;
		}
		ending = ending || (now >= end && messages >= MIN_MESSAGES && n_slices);
		for (int i = 0; i < n; i++) {
			struct peer *p = &c->peers[evs[i].data.u32];
			uint64_t first = p->got / (uint64_t)o->size, last;
			ssize_t res;

			do {
				res = recv(p->fd, buf, 256 << 10, MSG_DONTWAIT);
				if (res < 0 && errno != EAGAIN)
					die("client: recv");
				if (res > 0 && !same(buf, (size_t)res, p->got))
					c->res->corrupt = true;
				p->got += res > 0 ? (uint64_t)res : 0;
			} while (res == 256 << 10);
			now = now_ns();
			last = p->got / (uint64_t)o->size;
			for (uint64_t m = first; m < last; m++) {
				uint64_t *stamp = &p->stamp[m % (uint64_t)o->depth];

				if (measuring && !ending) {
					messages++;
					if (n_lat < LATENCIES)
						lat[n_lat++] = (uint32_t)(now - *stamp);
				}
				*stamp = now;
				if (ending)
					open--;
				else
					p->want += (uint64_t)o->size;
			}
			flush(p);
		}
	}
	for (int k = 0; k < o->conns; k++)
		shutdown(c->peers[k].fd, SHUT_RDWR);
	qsort(lat, n_lat, sizeof(*lat), by_value);
	if (n_lat) {
		c->res->p50_us = lat[n_lat / 2] / 1e3;
		c->res->cpu_ns = median(slices, n_slices);
	}
	c->res->messages = (double)messages;
	free(lat);
	free(buf);
	close(ep);
	return NULL;
}

static void pattern_init(void)
{
	uint32_t x = 2463534242u;

	if (pattern)
		return;
	pattern = map(2 * PERIOD, -1, 0);
	for (unsigned i = 0; i < PERIOD; i++) {
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
		pattern[i] = pattern[i + PERIOD] = (uint8_t)x;
	}
}

static int server_open(void)
{
	const struct echo *o = srv->o;
	unsigned flags = o->setup & IORING_SETUP_COOP_TASKRUN ? 0 : BASE_FLAGS;
	int fds[MAX_CONNS], err;

	if ((err = ring_open(&srv->ring, 256, 4096, flags | o->setup | IORING_SETUP_R_DISABLED)) < 0)
		return err;
	if (o->min_wait_us && !(srv->ring.features & IORING_FEAT_MIN_TIMEOUT))
		err = -EINVAL;
	if (!err && o->bundle && !(srv->ring.features & IORING_FEAT_RECVSEND_BUNDLE))
		err = -EINVAL;
	if (!err)
		err = ring_wait_mode(&srv->ring, o->mode);
	if (!err)
		err = ring_register(&srv->ring, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
	if (!err && o->register_ring)
		err = ring_register_self(&srv->ring);
	if (!err && o->fixed) {
		for (int k = 0; k < srv->n; k++)
			fds[k] = srv->conns[k].fd;
		err = ring_register(&srv->ring, IORING_REGISTER_FILES, fds, (unsigned)srv->n);
	}
	if (!err)
		err = server_bufs();
	srv->ring.min_wait_us = o->min_wait_us;
	if (o->timeout_ms)
		srv->ring.ts.tv_nsec = o->timeout_ms * 1000000;
	return err < 0 ? err : 0;
}

static void server_close(void)
{
	const struct echo *o = srv->o;

	if (srv->ring.rings)
		ring_close(&srv->ring);
	for (int k = 0; k < srv->n; k++) {
		struct conn *c = &srv->conns[k];

		close(c->fd);
		if (c->own)
			munmap(c->own, OWN_BUFS * sizeof(struct io_uring_buf));
		if (c->own_bufs)
			munmap(c->own_bufs, OWN_BUFS * OWN_LEN);
	}
	if (srv->pool)
		munmap(srv->pool, o->bufs * sizeof(struct io_uring_buf));
	if (srv->bufs)
		munmap(srv->bufs, (size_t)o->bufs * o->buf_len);
	free(srv->order);
	free(srv->place);
	free(srv->conns);
}

/* Opens what o asks for, connected to peers that are on descriptors of their own. */
static struct server *echo_open(const struct echo *o, int *err)
{
	srv = calloc(1, sizeof(*srv));
	check(srv, "out of memory");
	pattern_init();
	srv->o = o;
	srv->n = o->conns;
	srv->conns = calloc((size_t)srv->n, sizeof(*srv->conns));
	srv->peers = calloc((size_t)srv->n, sizeof(*srv->peers));
	check(srv->n <= MAX_CONNS && srv->conns && srv->peers, "out of memory");
	for (int k = 0; k < srv->n; k++) {
		int fd[2];

		tcp_pair(fd);
		srv->peers[k].fd = fd[0];
		srv->peers[k].stamp = calloc((size_t)o->depth, sizeof(uint64_t));
		check(srv->peers[k].stamp, "out of memory");
		srv->conns[k].fd = fd[1];
	}
	*err = server_open();
	return srv;
}

static void echo_close(void)
{
	for (int k = 0; k < srv->n; k++) {
		close(srv->peers[k].fd);
		free(srv->peers[k].stamp);
	}
	free(srv->peers);
	server_close();
	free(srv);
	srv = NULL;
}

int echo_run(const struct echo *o, struct echo_result *res)
{
	struct client client = { .o = o, .res = res };
	pthread_t t;
	int err;

	memset(res, 0, sizeof(*res));
	echo_open(o, &err);
	client.peers = srv->peers;
	if (!err) {
		if ((errno = pthread_getcpuclockid(pthread_self(), &client.server)) ||
		    (errno = pthread_create(&t, NULL, client_run, &client)))
			die("client");
		serve();
		if ((errno = pthread_join(t, NULL)))
			die("pthread_join");
		res->spanning = srv->spanning;
	}
	echo_close();
	return err;
}

/* The ways of echo_lockstep: clients send, the server answers, clients compare. */
static void lockstep_send(void *arg)
{
	srv = arg;
	for (int k = 0; k < srv->n; k++) {
		srv->peers[k].want += (uint64_t)srv->o->depth * (uint64_t)srv->o->size;
		flush(&srv->peers[k]);
		check(srv->peers[k].sent == srv->peers[k].want, "more than a socket takes");
	}
}

static void lockstep_serve(void *arg)
{
	uint64_t each, all;

	srv = arg;
	each = (uint64_t)srv->o->depth * (uint64_t)srv->o->size;
	all = srv->answered + (uint64_t)srv->n * each;
	while (srv->answered < all) {
		/* Each connection not answered yet has a completion to come. */
		uint64_t left = (all - srv->answered + each - 1) / each;

		turn(srv->o->wait_nr < left ? srv->o->wait_nr ? srv->o->wait_nr : 1 : (unsigned)left);
	}
}

static void lockstep_receive(void *arg)
{
	static uint8_t buf[64 << 10];

	srv = arg;
	for (int k = 0; k < srv->n; k++) {
		struct peer *p = &srv->peers[k];

		while (p->got < p->want) {
			ssize_t n = recv(p->fd, buf, sizeof(buf), 0);

			if (n <= 0)
				die("client: recv");
			check(same(buf, (size_t)n, p->got), "a reply differs from what was sent");
			p->got += (uint64_t)n;
		}
	}
}

void echo_lockstep(const char *trial, const char *load, const struct echo *ways, int n)
{
	struct server *servers[8];
	struct way list[8];
	int m = 0;

	check(n <= 8, "too many ways");
	for (int i = 0; i < n; i++) {
		int err;

		servers[m] = echo_open(&ways[i], &err);
		if (err < 0) {
			skip(trial, ways[i].way, err);
			echo_close();
			continue;
		}
		arm_all();
		ring_enter(&srv->ring, 0);
		list[m] = (struct way){ ways[i].way, (unsigned)(ways[i].conns * ways[i].depth), lockstep_serve,
					servers[m], 1, lockstep_receive, lockstep_send };
		m++;
	}
	compare(trial, load, list, m);
	while (m--) {
		srv = servers[m];
		echo_close();
	}
}

void echo_compare(const char *trial, const char *load, const struct echo *ways, int n)
{
	bool left_out[16] = { false };

	check(n <= 16, "too many ways");
	for (int round = 0; round < opt.rounds; round++)
		for (int i = 0; i < n; i++) {
			int k = (i + round) % n, err;
			struct echo_result res;

			if (left_out[k])
				continue;
			if ((err = echo_run(&ways[k], &res)) < 0) {
				skip(trial, ways[k].way, err);
				left_out[k] = true;
				continue;
			}
			if (res.corrupt) {
				printf("skip|%s|%s|replies differ from what was sent\n", trial, ways[k].way);
				left_out[k] = true;
				continue;
			}
			sample(trial, load, ways[k].way, "CPU ns/message", round, res.cpu_ns);
			sample(trial, load, ways[k].way, "p50 us", round, res.p50_us);
		}
}
