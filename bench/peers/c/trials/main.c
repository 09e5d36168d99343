/* The command line, and what all trials use. */
#define _GNU_SOURCE
#include "trial.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>

struct options opt = { .rounds = 9, .ms = 100, .cpu = 0, .peer_cpu = 1 };

static const struct {
	const char *name;
	void (*run)(void);
} trials[] = {
	{ "fixed-files", trial_fixed_files },
	{ "registered-waits", trial_registered_waits },
	{ "incremental-buffers", trial_incremental },
	{ "send-bundles", trial_send_bundles },
	{ "msg-ring", trial_msg_ring },
	{ "wait-nr", trial_wait_nr },
	{ "setup", trial_setup_flags },
	{ "recv-bundles", trial_recv_bundles },
	{ "send-zc", trial_send_zc },
	{ "direct-send", trial_direct_send },
	{ "resize", trial_resize },
	{ "overflow", trial_overflow },
	{ "recv-cap", trial_recv_cap },
};

#define TRIALS (sizeof(trials) / sizeof(trials[0]))

void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

void check(bool ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "%s\n", what);
		exit(1);
	}
}

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	if (clock_gettime(id, &ts))
		die("clock_gettime");
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

uint64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

uint64_t cpu_ns(void)
{
	return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("sched_setaffinity");
}

void tcp_pair(int fd[2])
{
	static int listener = -1;
	static struct sockaddr_in sa;
	socklen_t len = sizeof(sa);
	int one = 1;

	if (listener < 0) {
		sa.sin_family = AF_INET;
		sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (listener < 0 || bind(listener, (struct sockaddr *)&sa, sizeof(sa)) ||
		    listen(listener, 128) || getsockname(listener, (struct sockaddr *)&sa, &len))
			die("listen");
	}
	fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd[0] < 0 || connect(fd[0], (struct sockaddr *)&sa, sizeof(sa)))
		die("connect");
	fd[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (fd[1] < 0)
		die("accept");
	/* Without the pacing of other algorithms, which is timers and waits. */
	for (int i = 0; i < 2; i++)
		if (setsockopt(fd[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) ||
		    setsockopt(fd[i], IPPROTO_TCP, TCP_CONGESTION, "reno", 4))
			die("setsockopt");
}

void *map(size_t len, int fd, off_t offset)
{
	int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED | MAP_POPULATE;
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, flags, fd, offset);

	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

void sample(const char *trial, const char *load, const char *way, const char *unit, int round,
	    double value)
{
	printf("sample|%s|%s|%s|%s|%d|%.6g\n", trial, load, way, unit, round, value);
	fflush(stdout);
}

void skip(const char *trial, const char *way, int err)
{
	printf("skip|%s|%s|not offered: %s\n", trial, way, strerror(-err));
	fflush(stdout);
}

static int by_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

double median(double *v, int n)
{
	check(n > 0, "a median of nothing");
	qsort(v, (size_t)n, sizeof(*v), by_double);
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static double per_op(const struct way *w, uint64_t ns)
{
	unsigned batch = w->batch ? w->batch : 16;
	uint64_t start = now_ns(), cpu = 0;
	double n = 0;

	do {
		uint64_t since;

		if (w->before)
			w->before(w->arg);
		since = cpu_ns();
		for (unsigned i = 0; i < batch; i++)
			w->run(w->arg);
		cpu += cpu_ns() - since;
		n += (double)batch * w->per;
		if (w->after)
			w->after(w->arg);
	} while (now_ns() - start < ns);
	return (double)cpu / n;
}

#define SLICE_NS 2000000u
#define MAX_SLICES 1000
#define MAX_WAYS 8

void compare(const char *trial, const char *load, const struct way *ways, int n)
{
	static double slices[MAX_WAYS][MAX_SLICES];
	int count = opt.ms / (int)(SLICE_NS / 1000000);

	count = count < 1 ? 1 : count > MAX_SLICES ? MAX_SLICES : count;
	check(n <= MAX_WAYS, "too many ways");
	for (int i = 0; i < n; i++)
		per_op(&ways[i], SLICE_NS); /* warm */
	for (int round = 0; round < opt.rounds; round++) {
		for (int k = 0; k < count; k++)
			for (int i = 0; i < n; i++) {
				int w = (i + k) % n;

				slices[w][k] = per_op(&ways[w], SLICE_NS);
			}
		for (int i = 0; i < n; i++)
			sample(trial, load, ways[i].name, "CPU ns/op", round, median(slices[i], count));
	}
}

static _Noreturn void usage(void)
{
	fprintf(stderr, "usage: trials [-rounds N] [-ms N] [-cpu N] [-peer-cpu N] [TRIAL...]\ntrials:");
	for (size_t i = 0; i < TRIALS; i++)
		fprintf(stderr, " %s", trials[i].name);
	fprintf(stderr, "\n");
	exit(2);
}

static int number(const char *s, int min)
{
	char *end;
	long n = s ? strtol(s, &end, 10) : -1;

	if (!s || end == s || *end || n < min || n > 1000000)
		usage();
	return (int)n;
}

int main(int argc, char **argv)
{
	bool chosen[TRIALS] = { false }, any = false;

	for (int i = 1; i < argc; i++) {
		size_t t = 0;

		if (!strcmp(argv[i], "-rounds"))
			opt.rounds = number(argv[++i], 1);
		else if (!strcmp(argv[i], "-ms"))
			opt.ms = number(argv[++i], 1);
		else if (!strcmp(argv[i], "-cpu"))
			opt.cpu = number(argv[++i], 0);
		else if (!strcmp(argv[i], "-peer-cpu"))
			opt.peer_cpu = number(argv[++i], 0);
		else {
			while (t < TRIALS && strcmp(argv[i], trials[t].name))
				t++;
			if (t == TRIALS)
				usage();
			chosen[t] = any = true;
		}
	}
	signal(SIGPIPE, SIG_IGN);
	pin(opt.cpu);
	for (size_t t = 0; t < TRIALS; t++)
		if (chosen[t] || !any)
			trials[t].run();
	return 0;
}
