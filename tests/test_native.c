/* Straight-line code that is translated for the processor: its numbers are those of the kernels, to the bit. */
#include "programs.h"

#include <autograd/ops/native_impl.h>
#include <autograd/program/runner_impl.h>

#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

enum { PLACES = 300, MOST_CODES = 400, PARTS = 3, LISTED = 20 };

typedef struct machine {
    ag_type type;
    ag_straight code[MOST_CODES];
    double want[PLACES], got[PLACES]; /* as many bytes as either type needs */
} machine;

static uint64_t seed = 1;
static uint32_t below(uint32_t n) { return (uint32_t)random_number(&seed, 0, n); }

/* Few places, so that numbers meet again while registers have them, or many. */
static ag_straight random_code(uint32_t places) {
    ag_straight c = {.op = below(AG_STRAIGHT_CHAIN + 1), .to = below(places), .x = below(places)};
    static const uint32_t common[] = {AG_ADD,           AG_MUL,           AG_STRAIGHT_CHAIN, AG_STRAIGHT_FMA,
                                      AG_STRAIGHT_FNMA, AG_STRAIGHT_COPY, AG_SELECT};
    if (below(3)) c.op = common[below(sizeof common / sizeof *common)];
    c.y = below(places);
    c.z = below(4) ? below(places) : c.to;
    return c;
}

static double random_value(void) { return below(4) ? random_number(&seed, -3, 3) : SPECIAL[below(SPECIALS)]; }

static void compare_numbers(const machine *m, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        double want = ag_load(m->type, (void *)(uintptr_t)m->want, i),
               got = ag_load(m->type, (void *)(uintptr_t)m->got, i);
        if (!same_bits(got, want) && !(isnan(got) && isnan(want)))
            fail_msg("number %lld is %g, not %g", (long long)i, got, want);
    }
}

/* Skips a test where there is no translation. */
static void need_translation(void) {
    ag_memory memory = {0};
    ag_native native;
    bool can = ag_native_open(&memory, &native, AG_F64, ag_native_room(1));
    ag_native_close(&memory, &native);
    if (can) return;
    print_message("no translation for this machine\n");
    skip();
}

static void run_codes(machine *m, uint32_t places, size_t count) {
    ag_memory memory = {0};
    ag_native native;
    ag_native_code *codes[PARTS];
    for (int64_t i = 0; i < PLACES; i++) {
        double value = random_value();
        ag_store(m->type, m->want, i, value);
        ag_store(m->type, m->got, i, value);
    }
    for (size_t i = 0; i < count; i++) m->code[i] = random_code(places);
    uint32_t listed[LISTED];
    double list[1 + LISTED];
    char *spaces[] = {NULL, (char *)list};
    const ag_native_list put = {1, 1 + below(LISTED), listed, (int64_t)ag_type_size(m->type)};
    for (uint32_t i = 0; i < put.count; i++) listed[i] = below(places);
    assert_true(ag_native_open(&memory, &native, m->type, PARTS * ag_native_room(count + LISTED)));
    for (int k = 0; k < PARTS; k++) {
        codes[k] = ag_native_add(&native, m->type, m->code, count, k ? &put : NULL);
        assert_non_null(codes[k]);
    }
    assert_true(ag_native_seal(&memory, &native));
    for (int k = 0; k < PARTS; k++) {
        ag_kernels_for(m->type)->straight(m->code, count, m->want);
        codes[k](m->got, spaces);
        compare_numbers(m, PLACES);
        for (uint32_t i = 0; k && i < put.count; i++) {
            double want = ag_load(m->type, m->want, listed[i]), got = ag_load(m->type, list, 1 + (int64_t)i);
            if (!same_bits(got, want) && !(isnan(got) && isnan(want)))
                fail_msg("number %u of a list: %g, not %g", i, got, want);
        }
    }
    ag_native_close(&memory, &native);
    assert_int_equal(memory.held, 0);
}

static void random_codes_are_as_the_kernels_have_them(void **state) {
    (void)state;
    static const uint32_t places[] = {2, 6, 14, 17, 40, PLACES};
    static machine m;
    need_translation();
    for (int i = 0; i < 6000; i++) {
        m.type = i % 2 ? AG_F32 : AG_F64;
        run_codes(&m, places[below(sizeof places / sizeof *places)], below(i % 5 ? 30 : MOST_CODES) + 1);
    }
}

/* Every operation, of every two special numbers, from memory and from registers. */
static void special_numbers_are_as_the_kernels_have_them(void **state) {
    (void)state;
    static machine m;
    need_translation();
    for (uint32_t op = 0; op <= AG_STRAIGHT_CHAIN; op++) {
        for (int i = 0; i < 2 * SPECIALS * SPECIALS; i++) {
            ag_memory memory = {0};
            ag_native native;
            m.type = i % 2 ? AG_F32 : AG_F64;
            double in[] = {SPECIAL[i / 2 % SPECIALS], SPECIAL[i / 2 / SPECIALS], random_value()};
            for (int64_t k = 0; k < 8; k++) {
                ag_store(m.type, m.want, k, in[k % 3]);
                ag_store(m.type, m.got, k, in[k % 3]);
            }
            const ag_straight code[] = {{op, 3, 0, 1, 2},
                                        {AG_STRAIGHT_COPY, 4, 0, 0, 0},
                                        {AG_STRAIGHT_COPY, 5, 1, 1, 1},
                                        {op, 6, 4, 5, 2},
                                        {op, 5, 0, 5, 5}};
            assert_true(ag_native_open(&memory, &native, m.type, ag_native_room(5)));
            ag_native_code *f = ag_native_add(&native, m.type, code, 5, NULL);
            assert_true(ag_native_seal(&memory, &native));
            ag_kernels_for(m.type)->straight(code, 5, m.want);
            f(m.got, NULL);
            compare_numbers(&m, 8);
            ag_native_close(&memory, &native);
        }
    }
}

/* ---- rows ---- */

enum { ROWS = 30, RESULTS = 6, SUM_ROWS = 8, FIRST_NUMBER = 24, LENGTH_ROW = ROWS - 1, MOST_ROW_CODES = 60 };

/* Rows 0.. are results, then sums, rows that are read or computed, single numbers, and the length of the block. */
typedef struct row_machine {
    ag_type type;
    int64_t lanes, length;
    ag_straight code[MOST_ROW_CODES];
    uint32_t count, sums;
    void *row[2][ROWS];
} row_machine;

static uint32_t row_of(bool one) {
    if (one) return FIRST_NUMBER + below(LENGTH_ROW - FIRST_NUMBER);
    uint32_t k = below(FIRST_NUMBER - SUM_ROWS);
    return k < RESULTS ? k : k + SUM_ROWS;
}

static void add_row_code(row_machine *m) {
    static const uint32_t common[] = {AG_ADD,
                                      AG_MUL,
                                      AG_SUB,
                                      AG_STRAIGHT_FMA,
                                      AG_STRAIGHT_FNMA,
                                      AG_STRAIGHT_MUL_1,
                                      AG_STRAIGHT_COPY,
                                      AG_STRAIGHT_FMA_1,
                                      AG_STRAIGHT_MUL_ADD_1};
    uint32_t op = below(3) ? common[below(sizeof common / sizeof *common)] : below(AG_STRAIGHT_SHIFT);
    ag_straight c = {op, row_of(false), row_of(false), row_of(false), row_of(false)};
    if (below(3) == 0) c.z = c.to;
    if (below(4) == 0) c.y = c.to;
    if (op == AG_STRAIGHT_ADD_1 || op == AG_STRAIGHT_MUL_1 || op == AG_STRAIGHT_FMA_1) c.y = row_of(true);
    if (op == AG_STRAIGHT_MUL_ADD_1) c.z = row_of(true);
    const ag_straight sum = {AG_STRAIGHT_SUM, RESULTS + m->sums, c.to, 0, LENGTH_ROW};
    if (op == AG_STRAIGHT_SUM || op == AG_STRAIGHT_MUL_SUM || (below(4) == 0 && m->sums < SUM_ROWS)) {
        if (m->sums == SUM_ROWS) return; /* each sum has its row */
        m->sums++;
        c.op = op = below(2) ? AG_STRAIGHT_SUM : AG_STRAIGHT_MUL_SUM;
    }
    m->code[m->count++] = op == AG_STRAIGHT_SUM ? sum : c;
    if (op == AG_STRAIGHT_MUL_SUM) m->code[m->count++] = sum;
}

static void fill_rows(row_machine *m) {
    for (int i = 0; i < ROWS; i++) {
        for (int64_t l = 0; l < m->lanes; l++) {
            double value = below(8) ? random_number(&seed, -3, 3) : random_value();
            if (i >= RESULTS && i < RESULTS + SUM_ROWS && l >= (int64_t)AG_SUMS(m->type)) value = 0;
            for (int k = 0; k < 2; k++) ag_store(m->type, m->row[k][i], l, value);
        }
    }
    for (int k = 0; k < 2; k++) memcpy(m->row[k][LENGTH_ROW], &m->length, sizeof m->length);
}

static void run_on_rows(row_machine *m, const ag_kernels *k) {
    if (m->lanes == AG_FEW_LANES) k->straight_short_rows(m->code, m->count, m->row[0]);
    else if (m->lanes == AG_HALF_LANES) k->straight_half_rows(m->code, m->count, m->row[0]);
    else if (m->lanes == AG_LANES) k->straight_rows(m->code, m->count, m->row[0]);
    else k->straight_long_rows(m->code, m->count, m->row[0]);
}

static void compare_rows(const row_machine *m) {
    for (int i = 0; i < RESULTS + SUM_ROWS; i++) {
        int64_t n = i < RESULTS ? m->lanes : (int64_t)AG_SUMS(m->type);
        for (int64_t l = 0; l < n; l++) {
            double want = ag_load(m->type, m->row[0][i], l), got = ag_load(m->type, m->row[1][i], l);
            if (!same_bits(got, want) && !(isnan(got) && isnan(want)))
                fail_msg("%lld of %lld lanes, row %d: number %lld is %g, not %g", (long long)m->length,
                         (long long)m->lanes, i, (long long)l, got, want);
        }
    }
}

static void check_row_code(row_machine *m) {
    ag_memory memory = {0};
    ag_native native;
    uint32_t wanted = below(MOST_ROW_CODES - 2) + 1;
    m->count = m->sums = 0;
    while (m->count < wanted) add_row_code(m);
    fill_rows(m);
    assert_true(ag_native_open(&memory, &native, m->type, ag_native_rows_room(m->count)));
    ag_native_rows *f = ag_native_add_rows(&native, m->type, m->code, m->count, m->lanes, RESULTS);
    assert_true(ag_native_seal(&memory, &native));
    if (f) {
        run_on_rows(m, ag_kernels_for(m->type));
        f(m->row[1]);
        compare_rows(m);
    }
    ag_native_close(&memory, &native);
}

static void codes_on_rows_are_as_the_kernels_have_them(void **state) {
    (void)state;
    static row_machine m;
    static char numbers[2][ROWS][AG_LONG_ROW];
    need_translation();
    for (int i = 0; i < ROWS; i++)
        for (int k = 0; k < 2; k++) m.row[k][i] = numbers[k][i];
    for (int i = 0; i < 4000; i++) {
        m.type = i % 2 ? AG_F32 : AG_F64;
        const int64_t lanes[] = {AG_FEW_LANES, AG_HALF_LANES, AG_LANES, AG_LONG_LANES(m.type)};
        m.lanes = lanes[i / 2 % 4];
        m.length = below(2) ? m.lanes : 1 + below((uint32_t)m.lanes);
        check_row_code(&m);
    }
}

/* ---- lanes ---- */

enum { LANE_PLACES = 40 };

/* Places from `results` on are anything. */
static void check_lane_code(ag_type type, uint32_t places, uint32_t count, uint32_t results) {
    static double numbers[2][LANE_PLACES * AG_LANES];
    static ag_straight code[MOST_CODES];
    ag_memory memory = {0};
    ag_native native;
    for (int64_t i = 0; i < LANE_PLACES * AG_LANES; i++) {
        double value = random_value();
        for (int k = 0; k < 2; k++) ag_store(type, numbers[k], i, value);
    }
    for (uint32_t i = 0; i < count; i++) code[i] = random_code(places);
    assert_true(ag_native_open(&memory, &native, type, ag_native_rows_room(count)));
    ag_native_code *f = ag_native_add_lanes(&native, type, code, count, results);
    assert_true(ag_native_seal(&memory, &native));
    if (f) {
        ag_kernels_for(type)->straight_lanes(code, count, numbers[0]);
        f(numbers[1], NULL);
    }
    for (int64_t i = 0; f && i < (results < places ? results : places) * AG_LANES; i++) {
        double want = ag_load(type, numbers[0], i), got = ag_load(type, numbers[1], i);
        if (!same_bits(got, want) && !(isnan(got) && isnan(want)))
            fail_msg("place %lld, lane %lld: %g, not %g", (long long)(i / AG_LANES), (long long)(i % AG_LANES), got,
                     want);
    }
    ag_native_close(&memory, &native);
}

static void codes_on_lanes_are_as_the_kernels_have_them(void **state) {
    (void)state;
    static const uint32_t places[] = {3, 9, 16, LANE_PLACES};
    need_translation();
    for (int i = 0; i < 2000; i++)
        check_lane_code(i % 2 ? AG_F32 : AG_F64, places[i / 2 % 4], below(i % 5 ? 20 : MOST_CODES) + 1,
                        i % 3 ? 3 : UINT32_MAX);
}

static void far_places_have_no_translation(void **state) {
    (void)state;
    ag_memory memory = {0};
    ag_native native;
    const ag_straight near = {AG_ADD, 0, (1 << 28) - 1, 1, 0}, far = {AG_ADD, 0, (1 << 28) + 16, 1, 0};
    need_translation();
    assert_true(ag_native_open(&memory, &native, AG_F64, 2 * ag_native_room(1)));
    assert_non_null(ag_native_add(&native, AG_F64, &near, 1, NULL));
    assert_null(ag_native_add(&native, AG_F64, &far, 1, NULL));
    ag_native_close(&memory, &native);
}

/* ---- systems that allow no such memory ---- */

static void norm_of(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    ag_var sum = ag_num(0);
    for (int i = 0; i < 4; i++) sum = ag_add(sum, ag_square(ag_sub(ag_at(x[0], i), ag_div(i, 3))));
    y[0] = ag_add(ag_sqrt(sum), ag_sum(ag_mul(ag_add(x[1], 1), ag_mul(x[1], x[1]))));
}

static double norm_at(const double *x, const double *v, bool *translated) {
    const ag_port in[] = {ag_in("x", AG_SHAPE(4)), ag_in("v", AG_SHAPE(40))};
    ag_program *p = ag_program_trace(AG_F64, norm_of, NULL, in, 2, NULL, 1);
    ag_runner *r = ag_runner_new(p);
    double y = NAN;
    *translated = false;
    for (uint64_t i = 0; i < r->steps.count; i++) {
        const ag_pstep *s = (const ag_pstep *)(const void *)r->steps.range.base + i;
        *translated |= s->native || s->native_rows;
    }
    assert_int_equal(ag_run(r, (const double *[]){x, v}, (double *[]){&y}), AG_OK);
    ag_runner_free(r);
    ag_program_free(p);
    return y;
}

/* In a process that may not make memory executable that was writable, as services are often run. */
static void systems_may_forbid_it(void **state) {
    (void)state;
#ifdef __linux__
    enum { SET_MDWE = 65, REFUSE_GAIN = 1, FORBIDDEN = 0, NO_SUCH_CALL = 1, WRONG = 2 };
    double x[4] = {1, -2, 0.5, 3}, v[40];
    bool translated;
    need_translation();
    for (int i = 0; i < 40; i++) v[i] = 0.1 * i - 1;
    double want = norm_at(x, v, &translated);
    assert_true(translated);
    pid_t child = fork();
    if (child == 0) {
        if (prctl(SET_MDWE, REFUSE_GAIN, 0, 0, 0) != 0) _exit(NO_SUCH_CALL);
        bool right = same_bits(norm_at(x, v, &translated), want);
        _exit(right && !translated ? FORBIDDEN : WRONG);
    }
    int status = 0;
    assert_true(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status));
    if (WEXITSTATUS(status) == NO_SUCH_CALL) skip();
    assert_int_equal(WEXITSTATUS(status), FORBIDDEN);
#else
    (void)norm_at;
    skip();
#endif
}

static bool refuse(void *context, size_t bytes) {
    (void)context, (void)bytes;
    return false;
}

static void refused_memory_is_no_translation(void **state) {
    (void)state;
    ag_memory memory = {.permit = refuse};
    ag_native native;
    assert_false(ag_native_open(&memory, &native, AG_F64, ag_native_room(100)));
    ag_native_close(&memory, &native);
    assert_int_equal(memory.held, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_codes_are_as_the_kernels_have_them),
        cmocka_unit_test(special_numbers_are_as_the_kernels_have_them),
        cmocka_unit_test(codes_on_rows_are_as_the_kernels_have_them),
        cmocka_unit_test(codes_on_lanes_are_as_the_kernels_have_them),
        cmocka_unit_test(far_places_have_no_translation),
        cmocka_unit_test(systems_may_forbid_it),
        cmocka_unit_test(refused_memory_is_no_translation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
