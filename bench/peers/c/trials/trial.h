/*
 * Small measurements of single io_uring features, each against the way without
 * it. One process, two threads: the measured one on one CPU, its peer on
 * another, TCP over loopback between them. The ways of a trial take turns.
 *
 * Standard output has a line per figure, fields separated by '|':
 *
 *	sample|TRIAL|LOAD|WAY|UNIT|ROUND|VALUE
 *	note|TRIAL|LOAD|TEXT
 *	skip|TRIAL|WAY|REASON		what the kernel does not offer
 *
 * The first way of a load is the base that others are compared to.
 */
#ifndef TRIAL_H
#define TRIAL_H

#include "abi.h"
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* Options of the command line. */
struct options {
	int rounds, ms;
	int cpu, peer_cpu;
};
extern struct options opt;

_Noreturn void die(const char *what);
void check(bool ok, const char *what); /* dies without errno */

/* main.c: time, threads, sockets */
uint64_t now_ns(void);
uint64_t cpu_ns(void); /* of the calling thread */
void pin(int cpu);
void tcp_pair(int fd[2]);
void *map(size_t len, int fd, off_t offset);
void sample(const char *trial, const char *load, const char *way, const char *unit, int round,
	    double value);
void skip(const char *trial, const char *way, int err);

/*
 * A way to do something: run does it `per` times. It is called `batch` times, 16 if
 * that is 0; before and after that, before and after are, if there are such, which
 * are not measured.
 */
struct way {
	const char *name;
	unsigned per;
	void (*run)(void *arg);
	void *arg;
	unsigned batch;
	void (*after)(void *arg);
	void (*before)(void *arg);
};

double median(double *v, int n); /* sorts v */

/*
 * Samples the CPU time per operation of all ways. In a round they take turns of
 * 2 ms each, opt.ms in all; the sample is the median of a way's turns, so that what
 * else runs on the machine spoils some turns and not the sample.
 */
void compare(const char *trial, const char *load, const struct way *ways, int n);

/* ring.c */
enum wait_mode { WAIT_PLAIN, WAIT_EXT, WAIT_REG };

struct ring {
	int fd, registered; /* the latter -1 if it is not */
	unsigned flags, features;
	unsigned *head, *tail, mask, entries; /* submission */
	unsigned *chead, *ctail, cmask;	      /* completion */
	unsigned next;			      /* our tail, published by enter */
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
	void *rings;
	size_t rings_len, sqes_len;
	enum wait_mode mode;
	struct __kernel_timespec ts; /* limit of a wait, unless WAIT_PLAIN */
	unsigned min_wait_us;
	struct reg_wait *region;
};

#define BASE_FLAGS (IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN)

/* 0 or -errno. flags are besides CQSIZE. */
int ring_open(struct ring *r, unsigned sq, unsigned cq, unsigned flags);
void ring_close(struct ring *r);
void ring_map(struct ring *r, const struct io_uring_params *p);
int ring_register(struct ring *r, unsigned op, void *arg, unsigned n);
int ring_register_self(struct ring *r);
int ring_wait_mode(struct ring *r, enum wait_mode mode); /* WAIT_REG: r is R_DISABLED */
void ring_enter(struct ring *r, unsigned wait);
void ring_submit(struct ring *r); /* without looking at completions */
struct io_uring_sqe *ring_sqe(struct ring *r, int op, int fd, uint64_t user);
void ring_wait_cqe(struct ring *r, struct io_uring_cqe *cqe);
void ring_drain(struct ring *r, unsigned n); /* n completions, all of which succeeded */

static inline bool ring_next(struct ring *r, struct io_uring_cqe *cqe)
{
	unsigned head = *r->chead;

	if (head == __atomic_load_n(r->ctail, __ATOMIC_ACQUIRE))
		return false;
	*cqe = r->cqes[head & r->cmask];
	__atomic_store_n(r->chead, head + 1, __ATOMIC_RELEASE);
	return true;
}

/*
 * sink.c: connections of which nothing is read but by a thread on the peer's CPU that
 * receives and discards, without sleeping, if there is one.
 */
struct sink {
	int fd[64], n; /* ends of the measured side */
	int peer[64];
	int stop;
	bool has_thread;
	pthread_t thread;
};
void sink_open(struct sink *s, int n, bool thread);
void sink_close(struct sink *s);

/* echo.c: a server of the measured thread and its clients on the peer's CPU */
struct echo {
	const char *way;
	unsigned setup; /* flags of the ring besides BASE_FLAGS, or COOP_TASKRUN alone */
	int conns, depth, size;
	unsigned buf_len, bufs; /* of the shared ring */
	bool incremental;	/* two buffers of 32 KiB per connection instead */
	bool bundle, fixed, register_ring;
	enum wait_mode mode;
	unsigned wait_nr, min_wait_us;
	unsigned timeout_ms; /* limit of waits unless WAIT_PLAIN; 0 for the usual */
};

struct echo_result {
	double cpu_ns;	       /* of the server per message, the median of slices of 5 ms */
	double p50_us;
	double messages;	       /* in the window */
	unsigned long spanning;	       /* receives of more than one buffer */
	bool corrupt;		       /* a reply differed from what was sent */
};

int echo_run(const struct echo *o, struct echo_result *res); /* 0 or -errno */
/* Samples all ways in rounds and by turns: CPU time of the server and latency. */
void echo_compare(const char *trial, const char *load, const struct echo *ways, int n);

/*
 * Samples CPU time alone, as compare does, with clients in the same thread: they send
 * everything, the server answers everything, they compare it. Nothing sleeps and
 * nothing is in parallel. What a connection has in flight must fit its sockets.
 */
void echo_lockstep(const char *trial, const char *load, const struct echo *ways, int n);

/* The trials. */
void trial_fixed_files(void);
void trial_send_bundles(void);
void trial_send_zc(void);
void trial_direct_send(void);
void trial_registered_waits(void);
void trial_setup_flags(void);
void trial_msg_ring(void);
void trial_resize(void);
void trial_overflow(void);
void trial_recv_bundles(void);
void trial_incremental(void);
void trial_wait_nr(void);
void trial_recv_cap(void);

#endif
