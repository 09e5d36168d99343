/* Trials of the features of an echo server. */
#include "trial.h"
#include <sys/mman.h>

#define SHARED .buf_len = 32 << 10, .bufs = 512
#define SMALL_BUFS .buf_len = 4 << 10, .bufs = 4096

void trial_recv_bundles(void)
{
	const char *name = "recv-bundles";
	/* More than a buffer each, and bursts that leave a few bytes in the last one. */
	static const struct echo test = { "bundle", .conns = 8, .depth = 7, .size = 777,
					  .buf_len = 256, .bufs = 512, .bundle = true };
	static const struct {
		const char *load;
		int conns, depth, size;
	} loads[] = {
		{ "64 x 16 x 64 B", 64, 16, 64 },
		{ "64 x 1 x 4 KiB", 64, 1, 4 << 10 },
		{ "8 x 1 x 64 KiB", 8, 1, 64 << 10 },
	};
	struct echo_result res;
	int err = echo_run(&test, &res);

	if (err < 0) {
		skip(name, "bundle", err);
		return;
	}
	printf("note|%s|self-test|%s: %.0f messages of 777 B, %lu receives of more than one buffer of 256 B\n",
	       name, res.corrupt ? "FAILED" : "passed", res.messages, res.spanning);
	for (int i = 0; i < 3; i++) {
		struct echo ways[] = {
			{ "32 KiB", SHARED },
			{ "32 KiB bundles", SHARED, .bundle = true },
			{ "4 KiB", SMALL_BUFS },
			{ "4 KiB bundles", SMALL_BUFS, .bundle = true },
		};

		for (int k = 0; k < 4; k++) {
			ways[k].conns = loads[i].conns;
			ways[k].depth = loads[i].depth;
			ways[k].size = loads[i].size;
		}
		echo_lockstep(name, loads[i].load, ways, 4);
	}
}

/* Memory that one waiting message of 64 B takes when it arrived by itself. */
static int taken(bool incremental, double *per_message)
{
	enum { MESSAGES = 16, LEN = 32 << 10 };
	struct buf_reg reg = { .ring_entries = 32, .flags = incremental ? IOU_PBUF_RING_INC : 0 };
	struct io_uring_buf_ring *bufs = map(4096, -1, 0);
	uint8_t *data = map(32 * LEN, -1, 0);
	char message[64] = { 0 };
	struct io_uring_cqe cqe;
	struct io_uring_sqe *sqe;
	struct ring r;
	double bytes = 0;
	int fd[2], err;

	if ((err = ring_open(&r, 8, 64, BASE_FLAGS)) < 0)
		return err;
	reg.ring_addr = (uintptr_t)bufs;
	err = ring_register(&r, IORING_REGISTER_PBUF_RING, &reg, 1);
	if (!err) {
		for (unsigned i = 0; i < 32; i++)
			bufs->bufs[i] = (struct io_uring_buf){ .addr = (uintptr_t)data + i * LEN,
							       .len = LEN, .bid = (uint16_t)i };
		__atomic_store_n(&bufs->tail, 32, __ATOMIC_RELEASE);
		tcp_pair(fd);
		sqe = ring_sqe(&r, IORING_OP_RECV, fd[0], 0);
		sqe->flags = IOSQE_BUFFER_SELECT;
		sqe->ioprio = IORING_RECV_MULTISHOT;
		for (int i = 0; i < MESSAGES; i++) {
			check(send(fd[1], message, sizeof(message), 0) == sizeof(message), "send");
			ring_wait_cqe(&r, &cqe);
			check(cqe.res == sizeof(message), "want one message");
			bytes += cqe.flags & IORING_CQE_F_BUF_MORE ? cqe.res : LEN;
		}
		*per_message = bytes / MESSAGES;
		close(fd[0]);
		close(fd[1]);
	}
	ring_close(&r);
	munmap(data, 32 * LEN);
	munmap(bufs, 4096);
	return err;
}

void trial_incremental(void)
{
	const char *name = "incremental-buffers";
	static const struct {
		const char *load;
		int conns, depth, size;
	} loads[] = {
		{ "64 x 1 x 64 B", 64, 1, 64 },
		{ "64 x 16 x 64 B", 64, 16, 64 },
		{ "64 x 1 x 4 KiB", 64, 1, 4 << 10 },
		{ "64 x 4 x 4 KiB", 64, 4, 4 << 10 },
	};
	double shared, own;
	int err = taken(true, &own);

	if (!err)
		err = taken(false, &shared);
	if (err < 0) {
		skip(name, "incremental", err);
		return;
	}
	sample(name, "a waiting message of 64 B", "shared", "B taken", 0, shared);
	sample(name, "a waiting message of 64 B", "incremental", "B taken", 0, own);
	for (int i = 0; i < 4; i++) {
		struct echo ways[] = {
			{ "shared", .buf_len = 32 << 10, .bufs = 512 },
			{ "incremental", .incremental = true },
		};

		for (int k = 0; k < 2; k++) {
			ways[k].conns = loads[i].conns;
			ways[k].depth = loads[i].depth;
			ways[k].size = loads[i].size;
		}
		echo_lockstep(name, loads[i].load, ways, 2);
	}
}

void trial_wait_nr(void)
{
	/* When all has arrived already, a wait for more takes more of it at a time. */
	static const struct echo full[] = {
		{ "1", .conns = 64, .depth = 1, .size = 64, SHARED, .wait_nr = 1 },
		{ "8", .conns = 64, .depth = 1, .size = 64, SHARED, .wait_nr = 8 },
		{ "20", .conns = 64, .depth = 1, .size = 64, SHARED, .wait_nr = 20 },
		{ "64", .conns = 64, .depth = 1, .size = 64, SHARED, .wait_nr = 64 },
	};
	struct echo ways[] = {
		{ "1", .wait_nr = 1 },
		{ "8", .wait_nr = 8 },
		{ "20", .wait_nr = 20 },
		{ "8, 20 us", .wait_nr = 8, .min_wait_us = 20 },
		{ "8, 50 us", .wait_nr = 8, .min_wait_us = 50 },
		{ "8, 100 us", .wait_nr = 8, .min_wait_us = 100 },
		{ "20, 20 us", .wait_nr = 20, .min_wait_us = 20 },
		{ "20, 50 us", .wait_nr = 20, .min_wait_us = 50 },
		{ "20, 100 us", .wait_nr = 20, .min_wait_us = 100 },
	};
	static const struct {
		const char *load;
		int conns, depth;
	} loads[] = { { "64 x 1 x 64 B", 64, 1 }, { "64 x 16 x 64 B", 64, 16 }, { "4 x 1 x 64 B", 4, 1 } };

	echo_lockstep("wait-nr", "64 x 1 x 64 B, all there", full, 4);
	for (int i = 0; i < 3; i++) {
		for (int k = 0; k < 9; k++) {
			ways[k].conns = loads[i].conns;
			ways[k].depth = loads[i].depth;
			ways[k].size = 64;
			ways[k].buf_len = 32 << 10;
			ways[k].bufs = 512;
			ways[k].mode = WAIT_EXT;
			/* What a wait for more than there is takes, without min-wait. */
			ways[k].timeout_ms = 1;
		}
		echo_compare("wait-nr", loads[i].load, ways, 9);
	}
}

/*
 * A stream of which much waits, and messages that arrived on other connections
 * just after it: what of the stream is received before the last of them.
 */
#define FLOOD (2u << 20)
#define PINGS 16

struct rush {
	const char *way;
	bool bundle;
	unsigned cap;	/* sqe->len */
	unsigned limit; /* optlen, behind which the operation ends and is started anew */
};

static void rush_arm(struct ring *r, int fd, const struct rush *w)
{
	struct io_uring_sqe *sqe = ring_sqe(r, IORING_OP_RECV, fd, 0);

	sqe->flags = IOSQE_BUFFER_SELECT;
	sqe->ioprio = IORING_RECV_MULTISHOT | (w->bundle ? IORING_RECVSEND_BUNDLE : 0);
	sqe->len = w->cap;
	sqe->splice_fd_in = (int32_t)w->limit; /* optlen lies there */
}

/* Takes a completion of the stream: counts it and starts the operation anew. */
static void rush_take(struct ring *r, int fd, const struct rush *w, const struct io_uring_cqe *cqe,
		      unsigned *flooded, bool *armed)
{
	*flooded += (unsigned)cqe->res;
	*armed = cqe->flags & IORING_CQE_F_MORE;
	if (!*armed && *flooded < FLOOD) {
		rush_arm(r, fd, w);
		*armed = true;
	}
}

static void rush_fill(int fd, const uint8_t *data, size_t n)
{
	while (n) {
		ssize_t res = send(fd, data, n, MSG_NOSIGNAL);

		if (res < 0)
			die("send");
		n -= (size_t)res;
	}
}

static int rush_round(const char *name, const struct rush *w, int round)
{
	enum { BUFS = 1024, LEN = 32 << 10, TIMES = 100 };
	static double ahead[TIMES], took[TIMES];
	struct buf_reg reg = { .ring_entries = BUFS };
	struct io_uring_buf_ring *bufs = map(BUFS * sizeof(struct io_uring_buf), -1, 0);
	uint8_t *data = map((size_t)BUFS * LEN, -1, 0), *flood = map(FLOOD, -1, 0);
	int fd[PINGS + 1][2], size = 2 * FLOOD, n = 0, err;
	uint64_t end = now_ns() + (uint64_t)opt.ms * 1000000;
	struct ring r;

	if ((err = ring_open(&r, 64, 1024, BASE_FLAGS)) < 0)
		goto unmap;
	if (w->bundle && !(r.features & IORING_FEAT_RECVSEND_BUNDLE)) {
		err = -EINVAL;
		goto close;
	}
	reg.ring_addr = (uintptr_t)bufs;
	if ((err = ring_register(&r, IORING_REGISTER_PBUF_RING, &reg, 1)) < 0)
		goto close;
	for (int i = 0; i <= PINGS; i++)
		tcp_pair(fd[i]);
	/* More than the limit for all needs a privilege. */
	if (setsockopt(fd[0][0], SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) ||
	    setsockopt(fd[0][1], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size))) {
		err = -errno;
		goto sockets;
	}
	do {
		unsigned flooded = 0, pings = 0;
		bool armed = true;
		struct io_uring_cqe cqe;
		uint64_t start;

		/* All buffers at each start: a bundle takes them in this order. */
		if (n) {
			check(!ring_register(&r, IORING_UNREGISTER_PBUF_RING, &reg, 1) &&
			      !ring_register(&r, IORING_REGISTER_PBUF_RING, &reg, 1), "buffers again");
			memset(bufs, 0, BUFS * sizeof(struct io_uring_buf));
		}
		for (unsigned i = 0; i < BUFS; i++) {
			bufs->bufs[i].addr = (uintptr_t)data + (size_t)i * LEN;
			bufs->bufs[i].len = LEN;
			bufs->bufs[i].bid = (uint16_t)i;
		}
		__atomic_store_n(&bufs->tail, BUFS, __ATOMIC_RELEASE);
		rush_arm(&r, fd[0][0], w);
		for (unsigned i = 1; i <= PINGS; i++) {
			struct io_uring_sqe *sqe = ring_sqe(&r, IORING_OP_RECV, fd[i][0], i);

			sqe->flags = IOSQE_BUFFER_SELECT;
			sqe->ioprio = IORING_RECV_MULTISHOT;
		}
		ring_submit(&r);
		rush_fill(fd[0][1], flood, FLOOD);
		for (int i = 1; i <= PINGS; i++)
			rush_fill(fd[i][1], flood, 64);
		start = now_ns();
		while (pings < PINGS) {
			ring_wait_cqe(&r, &cqe);
			if (cqe.res < 0) {
				err = cqe.res;
				goto sockets;
			}
			if (cqe.user_data)
				pings++;
			else
				rush_take(&r, fd[0][0], w, &cqe, &flooded, &armed);
		}
		took[n] = (double)(now_ns() - start) / 1e3;
		ahead[n++] = flooded / 1024.0;
		while (flooded < FLOOD) {
			ring_wait_cqe(&r, &cqe);
			check(cqe.res > 0, "the stream ends early");
			rush_take(&r, fd[0][0], w, &cqe, &flooded, &armed);
		}
		/* All multishots end before their buffers go. */
		for (unsigned i = 0; i <= PINGS; i++)
			ring_sqe(&r, IORING_OP_ASYNC_CANCEL, -1, PINGS + 1)->addr = i;
		for (unsigned left = 2 * (PINGS + 1) - !armed; left;) {
			ring_wait_cqe(&r, &cqe);
			left -= !(cqe.flags & IORING_CQE_F_MORE);
		}
	} while (n < TIMES && now_ns() < end);
	sample(name, "16 x 64 B behind 2 MiB", w->way, "KiB ahead", round, median(ahead, n));
	sample(name, "16 x 64 B behind 2 MiB", w->way, "us until all are there", round, median(took, n));
sockets:
	for (int i = 0; i <= PINGS; i++) {
		close(fd[i][0]);
		close(fd[i][1]);
	}
close:
	ring_close(&r);
unmap:
	munmap(bufs, BUFS * sizeof(struct io_uring_buf));
	munmap(data, (size_t)BUFS * LEN);
	munmap(flood, FLOOD);
	return err;
}

void trial_recv_cap(void)
{
	static const struct rush ways[] = {
		{ "no cap", false, 0, 0 },
		{ "cap 4 KiB", false, 4 << 10, 0 },
		{ "limit 64 KiB", false, 0, 64 << 10 },
		{ "bundle, no cap", true, 0, 0 },
		{ "bundle, cap 32 KiB", true, 32 << 10, 0 },
		{ "bundle, cap 128 KiB", true, 128 << 10, 0 },
	};
	enum { WAYS = sizeof(ways) / sizeof(ways[0]) };
	bool left_out[WAYS] = { false };

	for (int round = 0; round < opt.rounds; round++)
		for (int i = 0; i < WAYS; i++) {
			int k = (i + round) % WAYS, err;

			if (left_out[k])
				continue;
			if ((err = rush_round("recv-cap", &ways[k], round)) < 0) {
				skip("recv-cap", ways[k].way, err);
				left_out[k] = true;
			}
		}
}
