/* Rates as functions of the step: PyTorch's numbers, edges, bad arguments. */
#include "nn/nn.h"
#include "on_each_tape.h"
#include "torch_numbers.h"

#define DATA "optimisers.txt"
enum { RATES = 30 };
static const int64_t milestones[] = {3, 4, 11};

typedef struct named {
    const char *name;
    nn_schedule schedule;
} named;
enum { SCHEDULES = 9, PLATEAUS = 3 };

/* Those of tests/torch/optimisers.py. */
static nn_schedule schedule_of(const char *name) {
    const named all[SCHEDULES] = {
        {"constant", nn_constant_schedule(0.4, 0.25, 7)},
        {"linear", nn_linear_schedule(0.4, 0.2, 0.9, 12)},
        {"step", nn_step_schedule(0.4, 0.3, 7)},
        {"multi_step", nn_multi_step_schedule(0.4, 0.3, milestones, 3)},
        {"exponential", nn_exponential_schedule(0.4, 0.9)},
        {"cosine", nn_cosine_schedule(0.4, 0.01, 29)},
        {"cosine_warm_up", nn_with_warm_up(nn_cosine_schedule(0.4, 0.05 * 0.4, 20), 5)},
        {"one_cycle", nn_one_cycle_schedule(0.4, RATES, 0, 0, 0)},
        {"one_cycle_other", nn_one_cycle_schedule(0.4, RATES, 0.45, 5, 30)},
    };
    for (int i = 0; i < SCHEDULES; i++)
        if (strcmp(all[i].name, name) == 0) return all[i].schedule;
    return (nn_schedule){0};
}

static bool find_plateau(const char *name, nn_plateau *plateau, double *sign) {
    static const struct {
        const char *name;
        nn_plateau plateau;
        double sign; /* of the measures */
    } all[PLATEAUS] = {
        {"plateau", {.rate = 0.4, .patience = 2}, 1},
        {"plateau_default", {.rate = 0.4}, 1},
        {"plateau_max",
         {.rate = 0.4,
          .factor = 0.5,
          .patience = -1,
          .threshold = 0.05,
          .absolute = true,
          .cooldown = 3,
          .least = 0.06,
          .greater = true},
         -1},
    };
    for (int i = 0; i < PLATEAUS; i++)
        if (strcmp(all[i].name, name) == 0) {
            *plateau = all[i].plateau;
            *sign = all[i].sign;
            return true;
        }
    return false;
}

static void rates_are_pytorchs(void **state) {
    torch_row row, measures = torch_find(DATA, "measures", "of", AG_F64, 0);
    FILE *in = torch_open(DATA);
    int compared = 0;
    (void)state;
    while (torch_read(in, &row)) {
        if (strcmp(row.kind, "schedule") != 0) continue;
        double got[RATES], sign;
        nn_plateau plateau;
        nn_schedule s = schedule_of(row.name);
        assert_int_equal(row.count, RATES);
        if (find_plateau(row.name, &plateau, &sign)) {
            for (int t = 0; t < RATES; t++) got[t] = nn_plateau_rate(&plateau, sign * measures.x[t]);
        } else {
            if (s.kind == 0) fail_msg("there is no schedule %s here", row.name);
            for (int t = 0; t < RATES; t++) got[t] = nn_schedule_rate(s, t);
        }
        for (int t = 0; t < RATES; t++) /* relatively, also where rates are small */
            if (!(fabs(got[t] / row.x[t] - 1) <= 1e-10))
                fail_msg("%s at %d: %.17g; PyTorch has %.17g", row.name, t, got[t], row.x[t]);
        compared++;
    }
    fclose(in);
    assert_int_equal(compared, SCHEDULES + PLATEAUS);
}

/* After its end a schedule stays; before a warm-up's end there is its first rate in parts. */
static void schedules_have_ends(void **state) {
    (void)state;
    check_number("cosine", nn_schedule_rate(nn_cosine_schedule(1, 0.1, 10), 1000), 0.1);
    check_number("linear", nn_schedule_rate(nn_linear_schedule(2, 0, 0.5, 10), INT64_MAX), 1);
    check_number("constant", nn_schedule_rate(nn_constant_schedule(2, 0.5, 0), 0), 2);
    check_number("one cycle", nn_schedule_rate(nn_one_cycle_schedule(1, 10, 0, 0, 0), 1000), 1 / 25.0 / 1e4);
    check_number("one cycle of a step", nn_schedule_rate(nn_one_cycle_schedule(1, 1, 0, 0, 0), 0), 1 / 25.0 / 1e4);
    check_number("multi-step", nn_schedule_rate(nn_multi_step_schedule(1, 0.5, NULL, 0), 1000), 1);
    check_number("exponential", nn_schedule_rate(nn_exponential_schedule(1, 0.5), 100000), 0);
    nn_schedule warm = nn_with_warm_up(nn_step_schedule(1, 0.5, 2), 4);
    const double want[] = {0.25, 0.5, 0.75, 1, 1, 1, 0.5, 0.5, 0.25};
    for (int t = 0; t < 9; t++) check_number("a warm-up", nn_schedule_rate(warm, t), want[t]);
}

static void bad_schedules_have_no_rate(void **state) {
    static const int64_t not_ascending[] = {3, 2};
    const struct {
        nn_schedule schedule;
        const char *part;
    } bad[] = {
        {nn_cosine_schedule(NAN, 0, 10), "rate of a schedule"},
        {nn_cosine_schedule(-1, 0, 10), "rate of a schedule"},
        {nn_cosine_schedule(1, INFINITY, 10), "not finite"},
        {nn_cosine_schedule(1, 0, 0), "no steps"},
        {nn_linear_schedule(1, 0, 1, -1), "no steps"},
        {nn_step_schedule(1, 0.5, 0), "no steps"},
        {nn_constant_schedule(1, 0.5, -1), "negative number of steps"},
        {nn_multi_step_schedule(1, 0.5, NULL, 2), "no milestones"},
        {nn_multi_step_schedule(1, 0.5, not_ascending, 2), "do not ascend"},
        {nn_multi_step_schedule(1, 0.5, NULL, -2), "negative number of steps"},
        {nn_exponential_schedule(1, NAN), "not finite"},
        {nn_one_cycle_schedule(1, 10, 1.5, 0, 0), "must rise"},
        {nn_one_cycle_schedule(1, 10, 0, -1, 0), "divisor"},
        {nn_with_warm_up(nn_exponential_schedule(1, 0.5), -1), "warm-up"},
        {{.kind = 77}, "kind"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ag_tape *t = ag_tape_new(AG_F64);
        nn_model *model = nn_model_new(t, 1);
        nn_optimiser *o = nn_sgd(model, (nn_sgd_options){.rate = 0.5});
        assert_true(isnan(nn_schedule_rate(bad[i].schedule, 0)));
        nn_optimiser_schedule(o, bad[i].schedule);
        if (ag_tape_status(t) != AG_ERR_VALUE || strstr(ag_tape_message(t), bad[i].part) == NULL)
            fail_msg("\"%s\" lacks \"%s\"", ag_tape_message(t), bad[i].part);
        assert_true(nn_optimiser_rate(o) == 0.5);
        nn_optimiser_free(o);
        nn_model_free(model);
        ag_tape_free(t);
    }
    assert_true(isnan(nn_schedule_rate((nn_schedule){0}, 0)));
    assert_true(isnan(nn_schedule_rate(nn_exponential_schedule(1, 0.5), -1)));
}

static void a_plateaus_state_is_saved(void **state) {
    torch_row measures = torch_find(DATA, "measures", "of", AG_F64, 0);
    nn_plateau a = {.rate = 1, .patience = 1, .cooldown = 1}, b = a;
    nn_state from, to;
    (void)state;
    for (int t = 0; t < 12; t++) nn_plateau_rate(&a, measures.x[t]);
    assert_true(nn_plateau_state(&a, 0, &from) && nn_plateau_state(&b, 0, &to));
    assert_false(nn_plateau_state(&a, 1, &from) || nn_plateau_state(&a, -1, &from));
    assert_int_equal(from.count, 5);
    memcpy(to.data, from.data, sizeof(double[5]));
    for (int t = 12; t < RATES; t++)
        assert_true(nn_plateau_rate(&a, measures.x[t]) == nn_plateau_rate(&b, measures.x[t]));
    assert_true(nn_plateau_rate(&a, NAN) < 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_are_pytorchs),
        cmocka_unit_test(schedules_have_ends),
        cmocka_unit_test(bad_schedules_have_no_rate),
        cmocka_unit_test(a_plateaus_state_is_saved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
