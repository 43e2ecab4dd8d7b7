/* A scan of a million small steps, a damped pendulum with 2 numbers of state: time of a step and memory, by a loop in C,
 * recorded step by step on a tape, as a scan on a tape, and as programs; with all states kept, and with fewer. Times are of
 * the processor, the least of a few rounds. */
#include <autograd/autograd.h>

#include "common.h"
#include "held.h"

enum { STEPS = 1000000, ROUNDS = 3 };
static const double start[3] = {0.5, 0.1, 9.81};

static void pendulum(ag_tape *t, const ag_var *in, ag_var *out, void *context) {
    (void)t, (void)context;
    out[0] = ag_add(in[0], ag_mul(in[1], 1e-3));
    out[1] = ag_sub(in[1], ag_mul(ag_add(ag_mul(in[2], ag_sin(in[0])), ag_mul(in[1], 0.1)), 1e-3));
}

static ag_program *new_step(void) {
    const ag_port scalar = {.name = NULL, .shape = {.rank = 0}};
    return ag_program_trace(AG_F64, pendulum, NULL, (ag_port[]){scalar, scalar, scalar}, 3, NULL, 2);
}

static void record_scan(ag_tape *t, const ag_var *xs, ag_var *ys, void *context) {
    const int64_t *states = context;
    ag_program *step = new_step();
    ag_scan(t, step, STEPS, 2, xs, (ag_along[]){AG_SHARED, AG_SHARED, AG_SHARED}, &(ag_scan_options){.states = *states},
            ys);
    ag_program_free(step);
}

/* ---- what is compared ---- */

static double sink;

static double by_hand(double *bytes) {
    double began = bench_now(), x = start[0], v = start[1];
    for (int i = 0; i < STEPS; i++) {
        double next = x + v * 1e-3;
        v -= (start[2] * sin(x) + v * 0.1) * 1e-3;
        x = next;
    }
    sink += x;
    *bytes = 0;
    return bench_now() - began;
}

static double on_tape(bool scan, int64_t states, double *bytes) {
    ag_tape *t = ag_tape_new(AG_F64);
    double seconds = 0;
    for (int i = 0; i < 2; i++) { /* the first has to get memory from the system */
        ag_tape_clear(t);
        ag_var in[3] = {ag_input(t, start[0]), ag_input(t, start[1]), ag_input(t, start[2])}, out[2];
        ag_var s[3] = {in[0], in[1], in[2]};
        double began = bench_now();
        if (scan) record_scan(t, in, out, &states);
        for (int k = 0; !scan && k < STEPS; k++) {
            pendulum(t, s, out, NULL);
            s[0] = out[0];
            s[1] = out[1];
        }
        ag_backward(out[0]);
        seconds = bench_now() - began;
        sink += ag_grad(in[2]);
    }
    ag_stats stats = ag_tape_stats(t);
    *bytes = (double)(stats.instruction_bytes + stats.value_bytes + stats.adjoint_bytes);
    if (ag_tape_status(t) != AG_OK) printf("error: %s\n", ag_tape_message(t));
    ag_tape_free(t);
    return seconds;
}

static double program(bool gradient, int64_t states, double *bytes) {
    const ag_port scalar = {.name = NULL, .shape = {.rank = 0}};
    ag_program *p = ag_program_trace(AG_F64, record_scan, &states, (ag_port[]){scalar, scalar, scalar}, 3, NULL, 2);
    ag_program *g = gradient ? ag_program_gradient(p, NULL, 0) : ag_program_select(p, (int[]){0, 1}, 2);
    ag_runner *r = ag_runner_new(g);
    double y[5], *out[] = {y, y + 1, y + 2, y + 3, y + 4}, seconds = 0;
    for (int i = 0; i < 2; i++) {
        double began = bench_now();
        if (ag_run(r, (const double *[]){start, start + 1, start + 2}, out) != AG_OK)
            printf("error: %s\n", ag_runner_message(r));
        seconds = bench_now() - began;
    }
    *bytes = (double)held_by(r, g).bytes;
    sink += y[0];
    ag_runner_free(r);
    ag_program_free(g);
    ag_program_free(p);
    return seconds;
}

typedef struct way {
    const char *name;
    int kind; /* 0: a loop in C; 1: steps on a tape; 2: a scan on a tape; 3: a program; 4: its gradient */
    int64_t states;
} way;

static double run_way(const way *w, double *bytes) {
    switch (w->kind) {
    case 0: return by_hand(bytes);
    case 1: return on_tape(false, 0, bytes);
    case 2: return on_tape(true, w->states, bytes);
    default: return program(w->kind == 4, w->states, bytes);
    }
}

int main(void) {
    static const way ways[] = {
        {"value: a loop in C", 0, 0},
        {"value: scan in a program", 3, 0},
        {"gradient: recorded step by step, swept", 1, 0},
        {"gradient: scan on a tape, swept", 2, 0},
        {"gradient: scan on a tape, 2000 states", 2, 2000},
        {"gradient: program, all states", 4, 0},
        {"gradient: program, 2000 states", 4, 2000},
        {"gradient: program, 300 states", 4, 300},
        {"gradient: program, 40 states", 4, 40},
    };
    bench_title("A scan of a million steps", "a damped pendulum, 2 numbers of state");
    bench_clock_ = CLOCK_PROCESS_CPUTIME_ID;
    bench_heading("", (const char *[]){"ns a step", "kB"}, 2);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        double best = INFINITY, bytes = 0;
        for (int k = 0; k < ROUNDS; k++) {
            double seconds = run_way(&ways[i], &bytes);
            if (seconds < best) best = seconds;
        }
        bench_row(ways[i].name, (double[]){1e9 * best / STEPS, bytes > 0 ? bytes / 1000 : (double)NAN}, 2);
    }
    return sink == 0;
}
