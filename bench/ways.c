/* The same functions and gradients in every way that there is: written by hand in C, recorded and swept on a tape every
 * time, as a program, and as C printed from the program, compiled and loaded. A gradient comes with the function's value,
 * except by hand. */
#include "ways/hand.h"

#include "blas.h"
#include "recorded_functions.h"

/* A function in one form, as scalars or as a whole, in every way but by hand. */
typedef struct form {
    recording on_tape;
    bool printed;
    ag_program *value, *gradient;
    ag_runner *run_value, *run_gradient;
    ag_compiled *c_value, *c_gradient;
} form;

typedef struct by_hand {
    hand_function f;
    const double *point;
    double y, grad[MOST_VARIABLES];
} by_hand;

static void hand_value(void *context, double *lap) {
    by_hand *h = context;
    (void)lap;
    h->y = h->f.value(h->point);
}
static void hand_gradient(void *context, double *lap) {
    by_hand *h = context;
    (void)lap;
    h->f.gradient(h->point, h->grad);
}
static void tape_value(void *context, double *lap) {
    recording *r = &((form *)context)->on_tape;
    (void)lap;
    r->y = ag_value(recording_function(r));
}
static void tape_gradient(void *context, double *lap) {
    recording *r = &((form *)context)->on_tape;
    (void)lap;
    ag_var y = recording_function(r);
    recording_sweep(r, y);
    r->y = ag_value(y);
}
static void program_value(void *context, double *lap) {
    form *f = context;
    (void)lap;
    ag_run(f->run_value, (const double *[]){f->on_tape.point}, (double *[]){&f->on_tape.y});
}
static void program_gradient(void *context, double *lap) {
    form *f = context;
    (void)lap;
    ag_run(f->run_gradient, (const double *[]){f->on_tape.point}, (double *[]){&f->on_tape.y, f->on_tape.grad});
}
static void printed_value(void *context, double *lap) {
    form *f = context;
    (void)lap;
    ag_compiled_run(f->c_value, (const double *[]){f->on_tape.point}, (double *[]){&f->on_tape.y});
}
static void printed_gradient(void *context, double *lap) {
    form *f = context;
    (void)lap;
    ag_compiled_run(f->c_gradient, (const double *[]){f->on_tape.point}, (double *[]){&f->on_tape.y, f->on_tape.grad});
}

static void scalar_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    const problem *p = context;
    ag_var element[MOST_VARIABLES];
    (void)t;
    for (int i = 0; i < p->n; i++) element[i] = ag_at(x[0], i);
    y[0] = p->scalar(element);
}
static void whole_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    const problem *p = context;
    if (p->constants != NULL) p->constants(t);
    y[0] = p->whole(t, x[0]);
}

/* Programs of more operations are not printed: compilers take minutes for functions of so many lines. */
enum { MOST_LINES = 20000 };

/* Compiles the programs of a form; where that cannot be done, `printed` stays false and the reason is printed. */
static void compile(form *f) {
    const problem *p = f->on_tape.p;
    int64_t size = ag_program_size(f->gradient);
    if (size > MOST_LINES) {
        printf("   not printed as C: %s as %s, %lld operations\n", p->name, f->on_tape.whole ? p->what : "scalars",
               (long long)size);
        return;
    }
    f->c_value = ag_program_compile(f->value, NULL);
    f->c_gradient = ag_program_compile(f->gradient, NULL);
    f->printed = ag_compiled_status(f->c_value) == AG_OK && ag_compiled_status(f->c_gradient) == AG_OK;
    if (!f->printed) printf("   not printed as C: %s: %s\n", p->name, ag_compiled_message(f->c_gradient));
}

static form *form_new(const problem *p, bool whole) {
    form *f = bench_alloc(1, sizeof *f);
    ag_port in = ag_in("x", AG_SHAPE(p->n));
    f->value = ag_program_trace(AG_F64, whole ? whole_model : scalar_model, (void *)(uintptr_t)p, &in, 1, NULL, 1);
    f->gradient = ag_program_gradient(f->value, NULL, 0);
    if (ag_program_status(f->gradient) != AG_OK) bench_wrong("%s: %s", p->name, ag_program_message(f->gradient));
    f->run_value = ag_runner_new(f->value);
    f->run_gradient = ag_runner_new(f->gradient);
    recording_open(&f->on_tape, p, whole); /* last, as constants are those of the tape that had them last */
    compile(f);
    return f;
}
static void form_free(form *f) {
    ag_runner_free(f->run_value);
    ag_runner_free(f->run_gradient);
    ag_compiled_free(f->c_value);
    ag_compiled_free(f->c_gradient);
    ag_program_free(f->value);
    ag_program_free(f->gradient);
    ag_tape_free(f->on_tape.tape);
    free(f);
}

typedef struct way {
    const char *name; /* followed by the form */
    void (*value)(void *context, double *lap), (*gradient)(void *context, double *lap);
} way;
enum { WAYS = 3, PRINTED = 2 };
static const way ways[WAYS] = {{"tape", tape_value, tape_gradient},
                               {"program", program_value, program_gradient},
                               {"printed C", printed_value, printed_gradient}};

/* By hand against central differences, every way against that. */
static void check(const problem *p, by_hand *hand, form **forms) {
    double by_differences[MOST_VARIABLES], right = p->value(hand->point), none[BENCH_LAPS] = {0};
    differences(p, hand->point, by_differences);
    hand_value(hand, none);
    hand_gradient(hand, none);
    bench_check(p->name, &hand->y, &right, 1, 1e-10);
    bench_check(p->name, hand->grad, by_differences, (size_t)p->n, 1e-5);
    for (int i = 0; i < 2 * WAYS; i++) {
        form *f = forms[i / WAYS];
        recording *r = &f->on_tape;
        if (i % WAYS == PRINTED && !f->printed) continue;
        r->y = NAN;
        ways[i % WAYS].value(f, none);
        bench_check(ways[i % WAYS].name, &r->y, &right, 1, 1e-10);
        r->y = r->grad[0] = NAN;
        ways[i % WAYS].gradient(f, none);
        bench_check(ways[i % WAYS].name, &r->y, &right, 1, 1e-10);
        bench_check(ways[i % WAYS].name, r->grad, hand->grad, (size_t)p->n, 1e-9);
    }
}

static void row(const bench_set *set, const char *name, int task) {
    bench_row(name,
              (double[]){bench_time(set, task) * 1e6, bench_ratio(set, task, 0), bench_time(set, task + 1) * 1e6,
                         bench_ratio(set, task + 1, 1)},
              4);
}

static void measure(int number, int rounds) {
    const problem *p = &problems[number];
    form *forms[2] = {form_new(p, false), form_new(p, true)};
    by_hand hand = {.f = hand_find(number), .point = forms[0]->on_tape.point};
    check(p, &hand, forms);
    bench_set set = {0};
    int first[2 * WAYS];
    bench_add(&set, "value", hand_value, &hand);
    bench_add(&set, "gradient", hand_gradient, &hand);
    for (int i = 0; i < 2 * WAYS; i++) {
        if (i % WAYS == PRINTED && !forms[i / WAYS]->printed) continue;
        first[i] = bench_add(&set, "value", ways[i % WAYS].value, forms[i / WAYS]);
        bench_add(&set, "gradient", ways[i % WAYS].gradient, forms[i / WAYS]);
    }
    bench_run(&set, rounds, 2e-3);
    bench_heading(p->name, (const char *[]){"value us", "value / C", "gradient us", "gradient / C"}, 4);
    row(&set, "C by hand", 0);
    for (int i = 0; i < 2 * WAYS; i++) {
        char name[40];
        snprintf(name, sizeof name, "%s, %s", ways[i % WAYS].name, i < WAYS ? "scalars" : p->what);
        if (i % WAYS != PRINTED || forms[i / WAYS]->printed) row(&set, name, first[i]);
    }
    form_free(forms[0]);
    form_free(forms[1]);
}

int main(int argc, char **argv) {
    bool quick = argc > 1 && strcmp(argv[1], "--quick") == 0;
    bench_one_thread(argv);
    bench_title("The same functions in every way", "by hand: gcc or clang -O3 -march=native -ffast-math");
    bench_print_blas();
    problems_begin();
    hand_begin();
    for (int i = 0; i < PROBLEMS; i++) measure(i, quick ? 5 : 31);
    problems_end();
    return 0;
}
