/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "internal.h"
#include "io/loop.h"
#include "vmm/arch.h"

/* The real-time clock's time and its alarm: a timer on the host's clock that follows when somebody sets it. */

static uint64_t on_now(void *opaque)
{
	(void)opaque;
	return clock_real_ns() / NS_PER_S;
}

/* A failure would be one of arguments; the alarm is then late until the guest's next access. */
static void on_wake_at(void *opaque, uint64_t s)
{
	struct machine *m = opaque;
	const struct itimerspec when = { .it_value = { .tv_sec = (time_t)s } };

	(void)timerfd_settime(m->rtc_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static void on_timer(void *opaque, int fd, uint32_t events)
{
	struct machine *m = opaque;
	uint64_t count;

	(void)events;
	(void)!read(fd, &count, sizeof(count));
	machine_tick_rtc(m);
}

void machine_tick_rtc(struct machine *m)
{
	if (!m->rtc)
		return;
	pthread_mutex_lock(&m->input_lock);
	if (m->input_open)
		rtc_tick(m->rtc);
	pthread_mutex_unlock(&m->input_lock);
}

int machine_build_rtc(struct machine *m, const struct irq_pin *irq, struct bus *bus,
		      struct err *err)
{
	const struct rtc_sink sink = { .now_s = on_now, .wake_at = on_wake_at, .opaque = m };
	int rc;

	m->rtc_fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (m->rtc_fd < 0)
		return err_sys(err, -errno, "real-time clock: timerfd");
	rc = loop_add(m->loop, m->rtc_fd, EPOLLIN, on_timer, m);
	if (rc)
		return err_sys(err, rc, "real-time clock: event loop");
	rc = rtc_create(irq, &sink, &m->rtc, err);
	return rc ? rc : bus_add(bus, arch_platform.rtc_base, RTC_BYTES, &rtc_bus_ops, m->rtc, err);
}

void machine_destroy_rtc(struct machine *m)
{
	if (m->rtc_fd >= 0)
		loop_del(m->loop, m->rtc_fd);
	fd_close(&m->rtc_fd);
	rtc_destroy(m->rtc);
	m->rtc = NULL;
}
