/* Straight-line code that is translated for the processor: its numbers are those of the kernels, to the bit. */
#include "programs.h"

#include <autograd/ops/native_impl.h>

enum { PLACES = 300, MOST_CODES = 400, PARTS = 3 };

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
    bool can = ag_native_open(&memory, &native, AG_F64, 1, 1);
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
    assert_true(ag_native_open(&memory, &native, m->type, PARTS, PARTS * count));
    for (int k = 0; k < PARTS; k++) {
        codes[k] = ag_native_add(&native, m->type, m->code, count);
        assert_non_null(codes[k]);
    }
    assert_true(ag_native_seal(&memory, &native));
    for (int k = 0; k < PARTS; k++) {
        ag_kernels_for(m->type)->straight(m->code, count, m->want);
        codes[k](m->got);
        compare_numbers(m, PLACES);
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
            assert_true(ag_native_open(&memory, &native, m.type, 1, 5));
            ag_native_code *f = ag_native_add(&native, m.type, code, 5);
            assert_true(ag_native_seal(&memory, &native));
            ag_kernels_for(m.type)->straight(code, 5, m.want);
            f(m.got);
            compare_numbers(&m, 8);
            ag_native_close(&memory, &native);
        }
    }
}

static void far_places_have_no_translation(void **state) {
    (void)state;
    ag_memory memory = {0};
    ag_native native;
    const ag_straight near = {AG_ADD, 0, (1 << 28) - 1, 1, 0}, far = {AG_ADD, 0, (1 << 28) + 16, 1, 0};
    need_translation();
    assert_true(ag_native_open(&memory, &native, AG_F64, 2, 2));
    assert_non_null(ag_native_add(&native, AG_F64, &near, 1));
    assert_null(ag_native_add(&native, AG_F64, &far, 1));
    ag_native_close(&memory, &native);
}

static bool refuse(void *context, size_t bytes) {
    (void)context, (void)bytes;
    return false;
}

static void refused_memory_is_no_translation(void **state) {
    (void)state;
    ag_memory memory = {.permit = refuse};
    ag_native native;
    assert_false(ag_native_open(&memory, &native, AG_F64, 1, 100));
    ag_native_close(&memory, &native);
    assert_int_equal(memory.held, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_codes_are_as_the_kernels_have_them),
        cmocka_unit_test(special_numbers_are_as_the_kernels_have_them),
        cmocka_unit_test(far_places_have_no_translation),
        cmocka_unit_test(refused_memory_is_no_translation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
