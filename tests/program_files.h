/* For tests of programs in files. */
#ifndef PROGRAM_FILES_H
#define PROGRAM_FILES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "autograd/program/file_impl.h"

#include <math.h>
#include <stdlib.h>

typedef struct bytes {
    char *at;
    size_t size;
} bytes;

static bytes saved(const ag_program *p) {
    bytes b = {NULL, 0};
    FILE *out = open_memstream(&b.at, &b.size);
    assert_int_equal(ag_program_save(p, out), AG_OK);
    fclose(out);
    return b;
}

static bytes listed(const ag_program *p) {
    bytes b = {NULL, 0};
    FILE *out = open_memstream(&b.at, &b.size);
    ag_program_list(p, out);
    fclose(out);
    return b;
}

static void assert_equal(bytes a, bytes b) {
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.at, b.at, a.size);
    free(a.at);
    free(b.at);
}

static void run(const ag_program *p, double *to) {
    static const double a[128] = {1.5, 0.25, -0.75, 0.5, 2, 0.125, -0.25, 0.375, 1.75}; /* the first 9: a good matrix */
    static const double b[128] = {2, 1, 0.5, 0.25, 1.5, 0.75, 0, 0.5, 1};
    const double *xs[64];
    double *ys[64];
    ag_runner *r = ag_runner_new(p);
    for (int k = 0; k < ag_program_inputs(p); k++) xs[k] = k % 2 ? b : a;
    for (int k = 0; k < ag_program_outputs(p); k++) ys[k] = to + 64 * k;
    if (ag_run(r, xs, ys) != AG_OK) fail_msg("%s", ag_runner_message(r));
    ag_runner_free(r);
}

static void assert_same_numbers(const ag_program *p, const ag_program *q) {
    double *y = calloc(64 * 64, sizeof *y), *z = calloc(64 * 64, sizeof *z);
    run(p, y);
    run(q, z);
    assert_memory_equal(y, z, 64 * 64 * sizeof *y);
    free(y);
    free(z);
}

/* Takes the program. */
static void there_and_back(ag_program *p) {
    if (ag_program_status(p) != AG_OK) fail_msg("%s", ag_program_message(p));
    bytes b = saved(p);
    ag_program *q = ag_program_load_bytes(b.at, b.size, NULL, 0);
    if (ag_program_status(q) != AG_OK) fail_msg("%s", ag_program_message(q));
    FILE *in = fmemopen(b.at, b.size, "rb");
    ag_program *r = ag_program_load(in, NULL, 0);
    assert_int_equal(ag_program_status(r), AG_OK);
    fclose(in);
    assert_equal(listed(p), listed(q));
    assert_equal(saved(q), saved(r));
    if (ag_program_type(p) == AG_F64) assert_same_numbers(p, q);
    free(b.at);
    ag_program_free(p);
    ag_program_free(q);
    ag_program_free(r);
}

static void assert_refused(const char *at, size_t size) {
    ag_program *p = ag_program_load_bytes(at, size, NULL, 0);
    assert_int_not_equal(ag_program_status(p), AG_OK);
    assert_memory_equal(ag_program_message(p), "load: ", 6);
    ag_program_free(p);
}

static void put_checksum(bytes b) {
    uint64_t sum = ag_file_checksum(FILE_CHECKSUM_START, b.at, b.size - 8);
    for (size_t i = 0; i < 8; i++) b.at[b.size - 8 + i] = (char)(uint8_t)(sum >> 8 * i);
}

/* Changes that a checksum does not give away: what is loaded is sound, or it is not loaded. */
static void check_forged(const ag_program *p) {
    static const uint8_t values[] = {0, 1, 2, 7, 0x7f, 0x80, 0xff};
    bytes b = saved(p);
    for (size_t i = 12; i < b.size - 8; i++)
        for (size_t k = 0; k < sizeof values; k++) {
            char before = b.at[i];
            b.at[i] = (char)values[k];
            put_checksum(b);
            ag_program *q = ag_program_load_bytes(b.at, b.size, NULL, 0);
            if (ag_program_status(q) != AG_OK) assert_true(strlen(ag_program_message(q)) > 10);
            ag_program_free(q);
            b.at[i] = before;
        }
    free(b.at);
}

/* Any change of a byte, and any end that is too early. */
static void check_damaged(const ag_program *p) {
    bytes b = saved(p);
    for (size_t i = 0; i < b.size; i++) {
        b.at[i] ^= (char)(1 << i % 8);
        assert_refused(b.at, b.size);
        b.at[i] ^= (char)(1 << i % 8);
        assert_refused(b.at, i);
    }
    free(b.at);
}

#endif
