/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>

#include "internal.h"

/* A host CPU number at *s; moves *s behind it. */
static bool cpu_number(const char **s, int *ret)
{
	char *end;
	long n;

	if (!isdigit((unsigned char)**s))
		return false;
	n = strtol(*s, &end, 10); /* saturates at LONG_MAX */
	if (n >= CPU_SETSIZE)
		return false;
	*s = end;
	*ret = (int)n;
	return true;
}

int pin_parse(const char *s, int *ret, unsigned int max, struct err *err)
{
	const char *p = s;
	unsigned int n = 0;

	for (;;) {
		int first, last;

		if (!cpu_number(&p, &first))
			break;
		last = first;
		if (*p == '-' && (p++, !cpu_number(&p, &last) || last < first))
			break;
		/* CPUs past the last possible vCPU could never be used. */
		for (; first <= last && n < max; first++)
			ret[n++] = first;
		if (*p == '\0')
			return (int)n;
		if (*p++ != ',')
			break;
	}
	return err_set(err, -EINVAL, "CPU list \"%s\": not of the form 0-3,8", s);
}
