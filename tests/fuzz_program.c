/* A fuzzer of program files: bytes are loaded as a program, with their checksum put right. What is loaded is listed, drawn,
 * saved, printed as C and, if it is small, run and derived.
 *
 * With libFuzzer: clang -fsanitize=fuzzer,address,undefined, over this file and the library's sources.
 * test_fuzz_replay_program.c runs it on saved and on changed inputs.
 *
 * A program that was loaded is saved as a file from which the same program is loaded. What does not hold ends the program
 * by abort(). */
#include "autograd/program/file_impl.h"
#include "autograd/program/root_impl.h"
#include "autograd/program/scan_impl.h"

#include <math.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    MOST_BYTES = 1 << 16,
    MOST_CODES = 300,
    MOST_NUMBERS = 1 << 12,
    MOST_ROWS = 64,
    MOST_STEPS = 100,
    MOST_PORTS = 64,
    MOST_DERIVED = 60,
    MOST_WORK = 1 << 18
};

#define HOLDS(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) broken(#condition, __LINE__);                                                                \
    } while (0)

static void broken(const char *what, int line) {
    fprintf(stderr, "fuzz_program.c:%d: does not hold: %s\n", line, what);
    abort();
}

static void put_checksum(uint8_t *bytes, size_t size) {
    uint64_t sum = ag_file_checksum(FILE_CHECKSUM_START, bytes, size - 8);
    for (size_t i = 0; i < 8; i++) bytes[size - 8 + i] = (uint8_t)(sum >> 8 * i);
}

static bool is_cheap(const ag_program *p, int64_t times, int64_t *left);

/* Programs that an operation runs, so many times. */
static bool is_cheap_call(const ag_pcall *call, const void *params, int64_t times, int64_t *left) {
    const ag_scanning *scan = call->operation == &ag_scan_operation ? params : NULL;
    const ag_rooting *root = call->operation == &ag_root_operation ? params : NULL;
    if (call->saved_size > MOST_NUMBERS * 8) return false;
    if (ag_is_map(call->operation)) {
        int64_t rows = ag_map_rows(params);
        return rows <= MOST_ROWS && is_cheap(ag_map_program(params), times * (rows + 1), left);
    }
    if (scan) return scan->steps <= MOST_ROWS && is_cheap(scan->p, times * (scan->steps + 1), left);
    if (root)
        return root->steps <= MOST_STEPS && is_cheap(root->step, times * root->steps * (root->fixed ? 1 : 31), left) &&
               is_cheap(root->residual, times, left);
    return true;
}

/* Whether running it takes little memory and time: what is `left` of that. */
static bool is_cheap(const ag_program *p, int64_t times, int64_t *left) {
    int64_t elements = 0;
    if (p->codes.count > MOST_CODES || p->inputs.count > MOST_PORTS || p->outputs.count > MOST_PORTS) return false;
    for (uint32_t i = 0; i < p->codes.count; i++) elements += ag_value_count(p, i);
    for (uint32_t i = 0; i < p->views.count; i++) elements += ag_pview_at(p, i)->view.count;
    if (elements > MOST_NUMBERS || times > MOST_WORK || (*left -= times * (elements + 1)) < 0) return false;
    for (uint64_t i = 0; i < p->calls.count; i++) {
        const ag_pcall *call = ag_pcall_at(p, i);
        if (!is_cheap_call(call, ag_pparams_at(p, call->params), times, left)) return false;
    }
    return true;
}

static bool is_small(const ag_program *p) {
    int64_t left = MOST_WORK;
    return is_cheap(p, 1, &left);
}

static void run(const ag_program *p) {
    int nx = ag_program_inputs(p), ny = ag_program_outputs(p);
    ag_runner *r = ag_runner_new(p);
    double *data = calloc((size_t)(nx + ny) * MOST_NUMBERS + 1, sizeof *data);
    HOLDS(data);
    const void *xs[MOST_PORTS + 1];
    void *ys[MOST_PORTS + 1];
    for (int k = 0; k < nx; k++) {
        double *x = data + k * MOST_NUMBERS;
        for (int i = 0; i < MOST_NUMBERS; i++) ag_store(p->type, x, i, (i * 7 + k * 3) % 11 / 4.0 - 1);
        xs[k] = x;
    }
    for (int k = 0; k < ny; k++) ys[k] = data + (nx + k) * MOST_NUMBERS;
    if (p->type == AG_F64) (void)ag_run(r, (const double *const *)(const void *)xs, (double *const *)(const void *)ys);
    else (void)ag_run_f32(r, (const float *const *)(const void *)xs, (float *const *)(const void *)ys);
    free(data);
    ag_runner_free(r);
}

/* What is derived of programs that were not recorded here. */
static void derive(const ag_program *p) {
    if (p->codes.count > MOST_DERIVED || ag_program_inputs(p) == 0 || ag_program_outputs(p) == 0) return;
    ag_program *g = ag_program_vjp(p, NULL, 0);
    HOLDS(ag_program_status(g) == AG_OK || *ag_program_message(g));
    if (ag_program_status(g) == AG_OK && is_small(g)) run(g);
    ag_program_free(g);
}

static char *file_of(const ag_program *p, size_t *size) {
    char *bytes = NULL;
    FILE *file = open_memstream(&bytes, size);
    HOLDS(file);
    HOLDS(ag_program_save(p, file) == AG_OK);
    HOLDS(fclose(file) == 0);
    return bytes;
}

static void describe(const ag_program *p, bool print) {
    FILE *out = fopen("/dev/null", "w");
    HOLDS(out);
    ag_program_list(p, out);
    ag_program_dot(p, out);
    if (print) (void)ag_program_print_c(p, "f", &(ag_c_options){.rows = true}, out);
    fclose(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    enum { LEAST = 20 };
    if (size > MOST_BYTES) return 0;
    uint8_t *bytes = malloc(size + 1);
    HOLDS(bytes);
    if (size) memcpy(bytes, data, size);
    if (size >= LEAST) put_checksum(bytes, size);
    ag_program *p = ag_program_load_bytes(bytes, size, NULL, 0);
    HOLDS(p);
    if (ag_program_status(p) == AG_OK) {
        bool small = is_small(p);
        describe(p, small);
        if (small) run(p);
        if (small) derive(p);
        size_t n, m;
        char *first = file_of(p, &n);
        ag_program *q = ag_program_load_bytes(first, n, NULL, 0);
        HOLDS(ag_program_status(q) == AG_OK);
        char *second = file_of(q, &m);
        HOLDS(n == m && memcmp(first, second, n) == 0);
        ag_program_free(q);
        free(first);
        free(second);
    } else {
        HOLDS(*ag_program_message(p));
    }
    ag_program_free(p);
    free(bytes);
    return 0;
}
