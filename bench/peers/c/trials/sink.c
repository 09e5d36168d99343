/*
 * The other end of trials that send. A thread of it never sleeps, so that no send has
 * to wake it, which would be most of what a send costs.
 */
#include "trial.h"

static void *sink_run(void *arg)
{
	struct sink *s = arg;

	pin(opt.peer_cpu);
	while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED))
		for (int i = 0; i < s->n; i++)
			/* TCP discards with MSG_TRUNC, without a copy. */
			if (recv(s->peer[i], NULL, 1 << 20, MSG_TRUNC | MSG_DONTWAIT) < 0 &&
			    errno != EAGAIN && errno != EINTR)
				die("sink: recv");
	return NULL;
}

void sink_open(struct sink *s, int n, bool thread)
{
	memset(s, 0, sizeof(*s));
	s->n = n;
	for (int i = 0; i < n; i++) {
		int fd[2];

		tcp_pair(fd);
		s->fd[i] = fd[0];
		s->peer[i] = fd[1];
	}
	s->has_thread = thread;
	if (thread && (errno = pthread_create(&s->thread, NULL, sink_run, s)))
		die("pthread_create");
}

void sink_close(struct sink *s)
{
	__atomic_store_n(&s->stop, 1, __ATOMIC_RELAXED);
	if (s->has_thread && (errno = pthread_join(s->thread, NULL)))
		die("pthread_join");
	for (int i = 0; i < s->n; i++) {
		close(s->fd[i]);
		close(s->peer[i]);
	}
}
