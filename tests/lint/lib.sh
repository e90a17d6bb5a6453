# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What the checks of this directory share. Each check is a program: `tests/lint/check-NAME [TREE]`.
# It prints one line for each finding ("path:line: what is wrong") and ends with 0 (clean), 1 (findings) or
# 77 (could not run; the line "skip: ..." says why).

lint_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tree=$(cd "${1:-$lint_dir/../..}" && pwd)
cd "$tree" || exit 1
findings=0

finding()
{
	echo "$*"
	findings=$((findings + 1))
}

finish()
{
	[ "$findings" -eq 0 ]
	exit
}

skip()
{
	echo "skip: $*"
	exit 77
}

need()
{
	command -v "$1" >/dev/null || skip "$1 is not installed"
}

# find over the directories that hold the project's own files; arguments are find's.
find_files()
{
	local dir dirs=()
	for dir in include src vmm devices migration tests bench kernel .ci; do
		[ ! -d "$dir" ] || dirs+=("$dir")
	done
	[ ${#dirs[@]} -eq 0 ] || find "${dirs[@]}" -name __pycache__ -prune -o -type f \( "$@" \) -print | sort
}

c_files()
{
	find_files -name '*.[ch]'
}

# Shell scripts, by their name or by their first line.
shell_files()
{
	find_files -size -200k ! -path '*/corpus/*' ! -path '*/golden/*' | while IFS= read -r file; do
		case $file in
		*.sh) echo "$file" ;;
		*.*[a-z]) ;;
		*) ! head -c 64 "$file" | head -1 | grep -qaE '^#!.*\b(ba|da|)sh\b' || echo "$file" ;;
		esac
	done
}
