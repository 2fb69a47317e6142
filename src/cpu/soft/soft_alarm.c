/* soft_alarm - see soft_alarm.h.
 *
 * Setting the timer is a system call, so one that rings before the new deadline is left as it is:
 * it rings for nothing, and the next look sets it right. */
#include "cpu/soft/soft_alarm.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cpu/soft/soft_clock.h"
#include "cpu/soft/soft_machine.h"
#include "cpu/soft/soft_run.h"

#define ALARM_SIGNAL (SIGRTMIN + 3)

static void ring(int number, siginfo_t *info, void *context)
{
	(void)number, (void)context;
	struct soft_vcpu *v = info->si_value.sival_ptr;
	int saved = errno;
	v->alarm_deadline = UINT64_MAX;
	soft_attend(v, ATTENTION_EVENT);
	errno = saved;
}

int soft_alarm_new(struct soft_vcpu *v, struct err *err)
{
	const struct sigaction action = { .sa_sigaction = ring, .sa_flags = SA_SIGINFO };
	struct sigevent event = {
		.sigev_notify = SIGEV_THREAD_ID,
		.sigev_signo = ALARM_SIGNAL,
		.sigev_value.sival_ptr = v,
		._sigev_un._tid = gettid(),
	};
	if (sigaction(ALARM_SIGNAL, &action, NULL) < 0 ||
		timer_create(CLOCK_MONOTONIC, &event, &v->alarm) < 0)
		return err_sys(err, errno, "make a timer");
	v->has_alarm = true;
	v->alarm_deadline = UINT64_MAX;
	return 0;
}

void soft_alarm_free(struct soft_vcpu *v)
{
	if (v->has_alarm)
		(void)timer_delete(v->alarm);
	v->has_alarm = false;
}

void soft_alarm_set(struct soft_vcpu *v, uint64_t deadline)
{
	if (!v->has_alarm || deadline >= v->alarm_deadline)
		return;
	uint64_t now = soft_tsc(v);
	/* Zero would switch it off. */
	uint64_t us = deadline > now ? (deadline - now) * 1000 / v->machine->tsc_khz + 1 : 1;
	const struct itimerspec times = {
		.it_value = { .tv_sec = (time_t)(us / 1000000),
			.tv_nsec = (long)(us % 1000000 * 1000) },
	};
	v->alarm_deadline = deadline;
	(void)timer_settime(v->alarm, 0, &times, NULL);
}
