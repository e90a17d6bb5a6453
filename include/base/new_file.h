/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_NEW_FILE_H
#define BASE_NEW_FILE_H

#include "base/err.h"

/* A file that appears whole or not at all: written beside its place with mode 0600, then renamed. Zero-initialised it is nothing. */
struct new_file {
	const char *path; /* the caller's; NULL: not open */
	char temporary[1024];
	int fd; /* to write to */
};

/* -EISDIR, -ENAMETOOLONG, or open's error. The texts of open and commit do not name the path: the caller does. */
int new_file_open(struct new_file *f, const char *path, struct err *err);
/* On disk, and under its name. Ends it, on failure without a file. */
int new_file_commit(struct new_file *f, struct err *err);
/* Ends it without a file; what stood at @path before stays. Nothing happens when it is not open. */
void new_file_discard(struct new_file *f);

#endif
