/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_DIRTY_CASES_H
#define TESTS_DIRTY_CASES_H

/* The cases of the conformance suite; each is told its subject (dirty_fixture.h). */

/* dirty_exact.c */
void test_sequential(void **state);
void test_random_2_vcpus_2_regions(void **state);
void test_4_vcpus_5_regions(void **state);
void test_sparse_3_vcpus(void **state);
void test_one_in_eight(void **state);
void test_same_pages_again(void **state);
void test_reads_are_no_writes(void **state);
void test_kvm_writes(void **state);
void test_device_writes(void **state);
void test_rearm_is_exact(void **state);
void test_rearmed_in_pieces(void **state);

/* dirty_rings.c */
void test_more_than_a_ring(void **state);
void test_full_rings_of_4_vcpus(void **state);
void test_running_on_after_finish(void **state);

/* dirty_live.c */
void test_live_copy(void **state);
void test_live_copy_of_4_vcpus(void **state);
void test_after_a_failed_attempt(void **state);

/* dirty_memory.c */
void test_first_touch(void **state);
void test_unmapped_before_a_collect(void **state);
void test_unmapped_under_load(void **state);
void test_tables_written_by_the_walk(void **state);

#endif
