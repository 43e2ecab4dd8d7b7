/* Running out of memory, at every point where memory is asked for. */
#include "workload.h"

#include "autograd/support/memory_impl.h"

/* Permits `left` requests, then refuses one (or all that follow). */
typedef struct budget {
    int64_t left;
    bool for_good;
    int64_t asked, refused;
    size_t most; /* bytes; 0: any */
    size_t total;
} budget;

static bool permit(void *context, size_t bytes) {
    budget *b = context;
    b->asked++;
    bool refused = b->for_good ? b->left <= 0 : b->left == 0;
    b->left--;
    if (b->most && b->total + bytes > b->most) refused = true;
    if (refused) b->refused++;
    else b->total += bytes;
    return !refused;
}

static bool same_numbers(const workload *a, const workload *b) {
    if (a->count != b->count) return false;
    for (int i = 0; i < a->count; i++)
        if (number_error(a->number[i], b->number[i]) > 1e-12) return false;
    return true;
}

static ag_tape *tape_of(ag_type type, bool no_reserve, budget *b) {
    return ag_tape_new_with(&(ag_options){.type = type, .permit = permit, .context = b, .no_reserve = no_reserve});
}

static void check_same(const workload *got, const workload *want, const char *when, int64_t at) {
    if (!same_numbers(got, want)) fail_msg("%s, with request %lld refused: wrong numbers", when, (long long)at);
}

/* The workload with one request refused: an error, or nothing was needed after all; and the tape is good again. */
static bool refuse_request(int64_t at, bool for_good, ag_type type, bool no_reserve, const workload *want) {
    budget b = {.left = at, .for_good = for_good};
    ag_tape *t = tape_of(type, no_reserve, &b);
    workload w = run_workload(t);
    if (b.refused == 0) {
        check_fine("nothing was refused", t);
        check_same(&w, want, "without refusals", at);
        ag_tape_free(t);
        return false;
    }
    if (ag_tape_status(t) == AG_OK) {
        check_same(&w, want, "without an error", at);
    } else {
        if (ag_tape_status(t) != AG_ERR_MEMORY)
            fail_msg("request %lld refused: status %d, \"%s\"", (long long)at, (int)ag_tape_status(t),
                     ag_tape_message(t));
        assert_non_null(strstr(ag_tape_message(t), "memory"));
    }
    b.left = INT64_MAX;
    if (ag_tape_stats(t).held_bytes == 0) { /* it could not even be made */
        ag_tape_clear(t);
        assert_int_equal(ag_tape_status(t), AG_ERR_MEMORY);
    } else if (!for_good) {
        if (at % 4) ag_tape_clear(t);
        else ag_tape_recover(t); /* what was recorded before the error stays */
        w = run_workload(t);
        check_fine("with memory again", t);
        check_same(&w, want, "with memory again", at);
    }
    ag_tape_free(t);
    return true;
}

static workload reference(ag_type type) {
    ag_tape *t = ag_tape_new(type);
    workload w = run_workload(t);
    check_fine("workload", t);
    ag_tape_free(t);
    return w;
}

static void refuse_each(ag_type type, bool no_reserve, bool for_good) {
    workload want = reference(type);
    assert_in_range(want.count, 60, WORKLOAD_NUMBERS - 1);
    int64_t at = 0;
    while (refuse_request(at, for_good, type, no_reserve, &want)) at++;
    assert_in_range(at, 200, 10000);
}

static void each_request_refused(void **unused) {
    (void)unused;
    refuse_each(AG_F64, false, false);
}

static void each_request_refused_when_copying(void **unused) {
    (void)unused;
    refuse_each(AG_F64, true, false);
    refuse_each(AG_F32, true, false);
}

static void refused_for_good(void **unused) {
    (void)unused;
    refuse_each(AG_F32, false, true);
    refuse_each(AG_F64, true, true);
}

/* Budgets of more and more bytes, until one is enough. */
static void budgets_of_bytes(void **unused) {
    (void)unused;
    for (int i = 0; i < 2; i++) {
        workload want = reference(AG_F64);
        bool enough = false;
        for (size_t most = 1000; !enough && most < (size_t)1 << 30; most += most / 8) {
            budget b = {.left = INT64_MAX, .most = most};
            ag_tape *t = tape_of(AG_F64, i == 1, &b);
            workload w = run_workload(t);
            assert_true(ag_tape_stats(t).held_bytes <= most);
            enough = b.refused == 0;
            if (enough) check_same(&w, &want, "a budget that is enough", (int64_t)most);
            else if (ag_tape_status(t) != AG_OK) assert_int_equal(ag_tape_status(t), AG_ERR_MEMORY);
            ag_tape_free(t);
        }
        assert_true(enough);
    }
}

/* What is refused is told: operation, bytes asked for, bytes held. */
static void the_sentence(void **unused) {
    (void)unused;
    budget b = {.left = INT64_MAX, .most = 1 << 20};
    ag_tape *t = tape_of(AG_F64, true, &b);
    ag_var x = ag_tensor(t, NULL, AG_SHAPE(100));
    ag_var y = ag_matmul(ag_expand(ag_unsqueeze(x, 1), AG_SHAPE(100, 1000)), ag_zeros(t, AG_SHAPE(1000, 100)));
    assert_true(ag_is_inert(y));
    assert_int_equal(ag_tape_status(t), AG_ERR_MEMORY);
    assert_non_null(strstr(ag_tape_message(t), "out of memory"));
    ag_tape_recover(t);
    b.most = 0;
    ag_backward(ag_sum(ag_exp(x)));
    assert_true(ag_tape_status(t) == AG_OK && ag_grad(ag_at(x, 7)) == 1);
    ag_tape_free(t);
}

/* Everything that a tape takes is accounted for, and given back. */
static void accounts(void **unused) {
    (void)unused;
    for (int i = 0; i < 2; i++) {
        budget b = {.left = INT64_MAX};
        ag_tape *t = tape_of(AG_F64, i == 1, &b);
        (void)run_workload(t);
        assert_true(ag_tape_stats(t).held_bytes <= b.total);
        ag_tape_clear(t);
        (void)run_workload(t); /* adjoints for as many slots as there is room for now */
        uint64_t held = ag_tape_stats(t).held_bytes;
        for (int k = 0; k < 5; k++) {
            ag_tape_clear(t);
            (void)run_workload(t);
        }
        assert_int_equal(ag_tape_stats(t).held_bytes, held);
        ag_tape_clear(t);
        ag_tape_trim(t);
        (void)run_workload(t);
        check_fine("after trimming", t);
        assert_true(ag_tape_stats(t).held_bytes <= held);
        ag_tape_free(t);
    }
}

/* The memory of a range that was freed may be that of the next one: it has nothing of what was in it, and is in no account. */
static void ranges_begin_empty(void **state) {
    enum { RANGES = 80, BYTES = 100000, MOST = 1 << 24 };
    (void)state;
    ag_memory memory = {0};
    for (int round = 0; round < 3; round++) {
        ag_range ranges[RANGES] = {{0}};
        for (int i = 0; i < RANGES; i++) {
            size_t bytes = BYTES >> i % 10;
            assert_true(ag_range_grow(&memory, &ranges[i], bytes, MOST + (size_t)(i % 3)));
            for (size_t k = 0; k < ranges[i].size; k++) assert_int_equal(ranges[i].base[k], 0);
            memset(ranges[i].base, 0xff, ranges[i].size);
        }
        for (int i = 0; i < RANGES; i++)
            for (int j = 0; j < i; j++) assert_true(ranges[i].base != ranges[j].base);
        for (int i = 0; i < RANGES; i++) ag_range_free(&memory, &ranges[i]);
        assert_int_equal(memory.held, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_request_refused),
        cmocka_unit_test(each_request_refused_when_copying),
        cmocka_unit_test(refused_for_good),
        cmocka_unit_test(budgets_of_bytes),
        cmocka_unit_test(ranges_begin_empty),
        cmocka_unit_test(the_sentence),
        cmocka_unit_test(accounts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
