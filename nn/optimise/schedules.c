/* Rates as functions of the step, and the one that depends on how training goes. */
#include "optimise_impl.h"

#include <math.h>

enum { NONE, CONSTANT, LINEAR, STEP, MULTI_STEP, EXPONENTIAL, COSINE, ONE_CYCLE, KINDS };

nn_schedule nn_constant_schedule(double rate, double factor, int64_t steps) {
    return (nn_schedule){.kind = CONSTANT, .rate = rate, .a = factor, .steps = steps};
}
nn_schedule nn_linear_schedule(double rate, double first, double last, int64_t steps) {
    return (nn_schedule){.kind = LINEAR, .rate = rate, .a = first, .b = last, .steps = steps};
}
nn_schedule nn_step_schedule(double rate, double factor, int64_t every) {
    return (nn_schedule){.kind = STEP, .rate = rate, .a = factor, .steps = every};
}
nn_schedule nn_multi_step_schedule(double rate, double factor, const int64_t *milestones, int64_t n) {
    return (nn_schedule){.kind = MULTI_STEP, .rate = rate, .a = factor, .milestones = milestones, .steps = n};
}
nn_schedule nn_exponential_schedule(double rate, double factor) {
    return (nn_schedule){.kind = EXPONENTIAL, .rate = rate, .a = factor};
}
nn_schedule nn_cosine_schedule(double rate, double least, int64_t steps) {
    return (nn_schedule){.kind = COSINE, .rate = rate, .a = least, .steps = steps};
}
nn_schedule nn_one_cycle_schedule(double rate, int64_t steps, double rise, double divisor, double last_divisor) {
    return (nn_schedule){.kind = ONE_CYCLE,
                         .rate = rate,
                         .steps = steps,
                         .a = rise == 0 ? 0.3 : rise,
                         .b = divisor == 0 ? 25 : divisor,
                         .c = last_divisor == 0 ? 1e4 : last_divisor};
}
nn_schedule nn_with_warm_up(nn_schedule schedule, int64_t steps) {
    schedule.warm_up = steps;
    return schedule;
}

const char *nn_schedule_fault(nn_schedule s) {
    if (s.kind < NONE || s.kind >= KINDS) return "a schedule of a kind that there is not";
    if (s.kind == NONE) return NULL;
    if (!(s.rate >= 0 && s.rate < INFINITY)) return "the rate of a schedule is negative or not finite";
    if (!isfinite(s.a) || !isfinite(s.b) || !isfinite(s.c)) return "a number of a schedule is not finite";
    if (s.warm_up < 0) return "a warm-up has a negative number of steps";
    switch (s.kind) {
    case LINEAR:
    case COSINE:
    case ONE_CYCLE:
    case STEP:
        if (s.steps < 1) return "a schedule has no steps";
        break;
    default:
        if (s.steps < 0) return "a schedule has a negative number of steps";
    }
    if (s.kind == MULTI_STEP && s.steps > 0 && s.milestones == NULL) return "a schedule has no milestones";
    for (int64_t i = 1; s.kind == MULTI_STEP && i < s.steps; i++)
        if (s.milestones[i] < s.milestones[i - 1]) return "milestones of a schedule do not ascend";
    if (s.kind == ONE_CYCLE && !(s.a > 0 && s.a < 1))
        return "one cycle must rise for more than 0 and less than all of it";
    if (s.kind == ONE_CYCLE && !(s.b > 0 && s.c > 0)) return "a divisor of a rate is not positive";
    return NULL;
}

/* From a at t = 0 to b at t = 1 along half a wave. */
static double half_wave(double a, double b, double t) {
    return b + (a - b) * (1 + cos(3.14159265358979323846 * t)) / 2;
}

static double one_cycle(nn_schedule s, double t) {
    double low = s.rate / s.b, last = low / s.c;
    double top = s.a * (double)s.steps - 1,
           end = (double)s.steps - 1; /* the steps of the highest rate and of the last */
    if (t <= top) return half_wave(low, s.rate, top > 0 ? t / top : 1);
    return half_wave(s.rate, last, t < end ? (t - top) / (end - top) : 1);
}

/* At step t, counted from the end of the warm-up. */
static double rate_at(nn_schedule s, int64_t t) {
    double within = t < s.steps ? (double)t / (double)s.steps : 1;
    int64_t passed = 0;
    switch (s.kind) {
    case CONSTANT: return t < s.steps ? s.rate * s.a : s.rate;
    case LINEAR: return s.rate * (s.a + (s.b - s.a) * within);
    case STEP: return s.rate * pow(s.a, (double)(t / s.steps));
    case MULTI_STEP:
        while (passed < s.steps && s.milestones[passed] <= t) passed++;
        return s.rate * pow(s.a, (double)passed);
    case EXPONENTIAL: return s.rate * pow(s.a, (double)t);
    case COSINE: return half_wave(s.rate, s.a, within);
    case ONE_CYCLE: return one_cycle(s, (double)t);
    default: return (double)NAN;
    }
}

double nn_schedule_rate(nn_schedule s, int64_t step) {
    if (s.kind == NONE || step < 0 || nn_schedule_fault(s) != NULL) return (double)NAN;
    if (step >= s.warm_up) return rate_at(s, step - s.warm_up);
    return rate_at(s, 0) * ((double)step + 1) / (double)s.warm_up;
}

/* ---- plateau --------------------------------------------------------------------------------------------------- */

enum { MEASURES, BEST, NO_BETTER, COOLING, RATE };

static bool is_better(const nn_plateau *p, double measure, double best) {
    double threshold = p->threshold == 0 ? (signbit(p->threshold) ? 0 : 1e-4) : p->threshold;
    double margin = isinf(best) ? 0 : p->absolute ? threshold : threshold * best;
    return p->greater ? measure > best + margin : measure < best - margin;
}

double nn_plateau_rate(nn_plateau *p, double measure) {
    if (p == NULL) return NAN;
    double *n = p->numbers, factor = p->factor == 0 ? 0.1 : p->factor;
    int patience = p->patience == 0 ? 10 : p->patience < 0 ? 0 : p->patience;
    if (n[MEASURES]++ == 0) {
        n[RATE] = p->rate;
        n[BEST] = p->greater ? -INFINITY : INFINITY;
    }
    if (is_better(p, measure, n[BEST])) {
        n[BEST] = measure;
        n[NO_BETTER] = 0;
    } else {
        n[NO_BETTER]++;
    }
    if (n[COOLING] > 0) {
        n[COOLING]--;
        n[NO_BETTER] = 0;
    }
    if (n[NO_BETTER] > patience) {
        double lower = n[RATE] * factor > p->least ? n[RATE] * factor : p->least;
        if (n[RATE] - lower > 1e-8) n[RATE] = lower;
        n[COOLING] = p->cooldown;
        n[NO_BETTER] = 0;
    }
    return n[RATE];
}

bool nn_plateau_state(nn_plateau *p, int i, nn_state *state) {
    if (p == NULL || state == NULL || i != 0) return false;
    *state = nn_state_of_numbers("plateau", p->numbers, (int64_t)(sizeof p->numbers / sizeof *p->numbers));
    return true;
}
