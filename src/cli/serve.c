/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "cli.h"
#include "control/server.h"
#include "io/loop.h"
#include "machine/devices.h"

/* Clients get this long to read a migration's report before the process ends. */
#define LINGER_NS (5 * NS_PER_S)

struct serving {
	struct loop *loop;
	struct machine *machine;
	struct control_server *server;
	bool ending; /* somebody wants the process to end: no reboot comes in between */
};

static void tell_size(struct machine *m)
{
	struct winsize w;

	if (ioctl(STDIN_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col && w.ws_row)
		machine_resize_terminal(m, w.ws_col, w.ws_row);
}

static void on_signal(void *opaque, int fd, uint32_t events)
{
	struct serving *s = opaque;
	struct signalfd_siginfo info;
	struct err err = { 0 };

	(void)events;
	if (fd_read_all(fd, &info, sizeof(info)))
		return;
	if (info.ssi_signo == SIGWINCH)
		tell_size(s->machine);
	else if (machine_stop(s->machine, info.ssi_signo == SIGINT ? "interrupted" : "terminated",
			      &err))
		log_line(LOG_WARN, "%s", err.msg);
	else
		s->ending = true;
}

static void on_end(void *opaque, int fd, uint32_t events)
{
	struct serving *s = opaque;

	(void)fd;
	(void)events;
	loop_stop(s->loop);
}

/* Blocked before the first thread is made, so that all inherit it and only the signalfd sees them. */
static int open_signals(struct err *err)
{
	sigset_t set;
	int fd;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGWINCH);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_CLOEXEC);
	return fd < 0 ? err_sys(err, -errno, "signalfd") : fd;
}

static void announce(struct machine *m, const struct control_server *server, bool receive)
{
	struct machine_info info;

	machine_get_info(m, &info);
	if (receive)
		log_line(LOG_INFO, "name=%s waiting for a VM on %s, control socket %s", info.name,
			 info.listen, control_server_path(server));
	else
		log_line(
			LOG_INFO,
			"name=%s cpus=%u mem=%lluM kernel=\"%s\" console=%s dirty=%s (%s) accel=%s (%s) control socket %s",
			info.name, info.ncpus, (unsigned long long)(info.ram_bytes >> 20),
			info.kernel, info.console, info.dirty_backend, info.dirty_reason,
			info.dirty_accel, info.dirty_accel_reason, control_server_path(server));
}

/* The vCPUs start before the control socket does its part: a guest's first instruction waits for nothing it does not need. */
static int serve_machine(struct serving *s, const struct vm_options *o, bool receive,
			 struct err *err)
{
	struct machine_info info;
	int rc;

	machine_get_info(s->machine, &info);
	rc = control_server_start(s->machine, info.name, o->api, &s->server, err);
	if (!rc)
		rc = machine_start(s->machine, err);
	if (!rc)
		rc = loop_add(s->loop, machine_end_fd(s->machine), EPOLLIN, on_end, s);
	if (rc)
		return rc;
	announce(s->machine, s->server, receive);
	rc = loop_run(s->loop);
	loop_del(s->loop, machine_end_fd(s->machine));
	return rc;
}

static int serve_once(struct serving *s, const struct vm_options *o, bool receive, bool *ret_again,
		      struct err *err)
{
	struct machine_info info;
	int rc, status;

	*ret_again = false;
	rc = receive ? machine_create_receiver(&o->config, o->listen, s->loop, &s->machine, err) :
		       machine_create(&o->config, s->loop, &s->machine, err);
	if (rc)
		return rc;
	rc = serve_machine(s, o, receive, err);
	machine_get_info(s->machine, &info);
	status = machine_exit_status(s->machine);
	*ret_again = !rc && !receive && machine_wants_reboot(s->machine);
	control_server_stop(s->server, LINGER_NS);
	machine_destroy(s->machine);
	control_server_destroy(s->server);
	s->server = NULL;
	s->machine = NULL;
	if (rc)
		return rc;
	log_line(status ? LOG_ERROR : LOG_INFO, "name=%s %s: %s", info.name,
		 machine_state_name(info.state), info.stop_reason);
	return status;
}

int cli_serve(const struct vm_options *o, bool receive)
{
	struct serving s = { 0 };
	struct err err = { 0 };
	bool again = false;
	int signal_fd, rc;

	signal_fd = open_signals(&err);
	rc = signal_fd < 0 ? signal_fd : loop_create(&s.loop, &err);
	if (!rc)
		rc = loop_add(s.loop, signal_fd, EPOLLIN, on_signal, &s);
	if (!rc) {
		/* The guest rebooted: the same machine from the start. */
		do
			rc = serve_once(&s, o, receive, &again, &err);
		while (again && !s.ending);
	}
	if (rc < 0) {
		log_line(LOG_ERROR, "%s", err.msg);
		rc = EXIT_FAILED;
	}
	loop_destroy(s.loop);
	fd_close(&signal_fd);
	return rc;
}

int cmd_run(int argc, char **argv)
{
	struct vm_options o;
	int rc = vm_options_parse(&o, false, argc, argv);

	rc = rc ? rc - 1 : cli_serve(&o, false);
	vm_options_fini(&o);
	return rc;
}

int cmd_receive(int argc, char **argv)
{
	struct vm_options o;
	int rc = vm_options_parse(&o, true, argc, argv);

	rc = rc ? rc - 1 : cli_serve(&o, true);
	vm_options_fini(&o);
	return rc;
}
