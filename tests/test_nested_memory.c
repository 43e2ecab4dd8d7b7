/* Memory that is refused where programs hold programs (scans, roots, guards, maps), and where programs are printed, saved and
 * compiled. */
#include "programs.h"

#include "autograd/program/file_impl.h"
#include "folder.h"
#include "nested_programs.h"
#include "refusals.h"

#include <stdlib.h>
#include <unistd.h>

static void run_program(results *r, const ag_program *p, const ag_compile_options *compile) {
    const double *xs[16];
    double *ys[16], out[16][64], in[64];
    note_status(r, ag_program_status(p), ag_program_message(p));
    if (ag_program_status(p) != AG_OK) return;
    int nx = ag_program_inputs(p), ny = ag_program_outputs(p);
    for (int i = 0; i < 64; i++) in[i] = 1 + i % 7 / 8.0;
    assert_true(nx <= 16 && ny <= 16);
    for (int k = 0; k < nx; k++) xs[k] = in + k;
    for (int k = 0; k < ny; k++) ys[k] = out[k];
    ag_status status;
    if (compile) {
        ag_compiled *c = ag_program_compile(p, compile);
        status = ag_compiled_run(c, xs, ys);
        note_status(r, status, ag_compiled_message(c));
        ag_compiled_free(c);
    } else {
        ag_runner *runner = ag_runner_new(p);
        status = ag_run(runner, xs, ys);
        note_status(r, status, ag_runner_message(runner));
        ag_runner_free(runner);
    }
    for (int k = 0; k < ny && status == AG_OK; k++) {
        int64_t n = shape_count(ag_program_output(p, k).shape);
        note_numbers(r, out[k], n < 8 ? n : 8);
    }
}

/* How much is written, as a number. */
static void note_size(results *r, FILE *file, char **text, const size_t *size) {
    fclose(file);
    note_numbers(r, (double[]){(double)*size}, r->status == AG_OK ? 1 : 0);
    free(*text);
}

static void save(results *r, const ag_program *p) {
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    note_status(r, ag_program_save(p, file), "save: out of memory");
    note_size(r, file, &text, &size);
}

static void load(results *r, const ag_program *p, budget *b) {
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    int64_t at = b->left;
    b->left = INT64_MAX;
    note_status(r, ag_program_save(p, file), "save");
    fclose(file);
    b->left = at;
    ag_program *q = ag_file_load(text, size, NULL, 0, &(ag_memory){permit, b, true, 0});
    run_program(r, q, NULL);
    ag_program_free(q);
    free(text);
}

static void print(results *r, const ag_program *p) {
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    ag_printed printed = ag_program_print_c(p, "f", &(ag_c_options){.rows = true}, file);
    note_status(r, printed.status, printed.message);
    fflush(file);
    if (printed.status != AG_OK) assert_int_equal(size, 0);
    note_size(r, file, &text, &size);
}

/* The programs that the parts are about, traced with the options' memory. */
typedef struct nest {
    ag_program *step, *scan, *states, *f, *root, *g, *fixed, *guard, *all;
} nest;

static ag_program *with(const ag_options *o, ag_model f, void *context, const ag_port *in, int nx, int ny) {
    return ag_program_trace_with(o, f, context, in, nx, NULL, ny);
}

static void everything(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    const nest *n = context;
    ag_var in[4] = {x[0], x[1], x[2], x[3]}, ys[3], root = ag_num(0), fixed = root;
    ys[0] = root; /* a program in error writes nothing */
    ag_program_apply(t, n->scan, in, ys);
    ag_program_call(t, n->root, (ag_var[]){x[1], x[1]}, &root);
    ag_program_call(t, n->fixed, (ag_var[]){ag_mul(x[1], 0.25), x[1]}, &fixed);
    y[0] = ag_add(ys[0], ag_add(root, fixed));
}

static nest open_nest(const ag_options *o) {
    static const double example[] = {1, 1};
    const ag_port step_in[] = {
        {"h", AG_SHAPE(2), NULL}, {"n", {.rank = 0}, NULL}, {"u", AG_SHAPE(2), NULL}, {"W", AG_SHAPE(2, 2), NULL}};
    ag_port in[4];
    const ag_port three[] = {{"x", {.rank = 0}, NULL}, {"a", {.rank = 0}, NULL}, {"b", {.rank = 0}, NULL}},
                  two[] = {{"x", {.rank = 0}, example}, {"w", {.rank = 0}, example}};
    nest n = {.step = with(o, step, NULL, step_in, 4, 3),
              .f = with(o, cubic, NULL, three, 3, 1),
              .g = with(o, contraction, NULL, three, 3, 2)};
    scanning s = {n.step, 5, {0}, false}, c = {n.step, 5, {.states = 3}, false};
    solving root = {n.f, false, {0, 0}}, fixed = {n.g, true, {0, 0}};
    memcpy(in, step_in, sizeof in);
    in[2].shape = AG_SHAPE(5, 2);
    n.scan = with(o, scan_model, &s, in, 4, 3);
    n.states = with(o, scan_model, &c, in, 4, 3);
    n.root = with(o, root_model, &root, three + 1, 2, 1);
    n.fixed = with(o, root_model, &fixed, three + 1, 2, 1);
    n.guard = with(o, branching, NULL, two, 2, 1);
    n.all = with(o, everything, &n, in, 4, 1);
    return n;
}

static void close_nest(nest *n) {
    ag_program *all[] = {n->step, n->scan, n->states, n->f, n->root, n->g, n->fixed, n->guard, n->all};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) ag_program_free(all[i]);
}

static void note_status_of(results *r, ag_program *const *all, size_t n) {
    for (size_t i = 0; i < n; i++) note_status(r, ag_program_status(all[i]), ag_program_message(all[i]));
}

static void trace_all(results *r, const ag_options *o) {
    nest n = open_nest(o);
    note_status_of(r, (ag_program *[]){n.step, n.scan, n.states, n.f, n.root, n.g, n.fixed, n.guard, n.all}, 9);
    run_program(r, n.all, NULL);
    close_nest(&n);
}

static void on_a_tape(results *r, const nest *n, const ag_options *o) {
    static const double numbers[] = {0.5, 0.25, 1, 0.75, 0.5, 1, 0.5, 0.25, 1, 0.75};
    ag_tape *t = ag_tape_new_with(o);
    ag_var x[] = {ag_tensor(t, numbers, AG_SHAPE(2)), ag_input(t, 0.5), ag_tensor(t, numbers, AG_SHAPE(5, 2)),
                  ag_tensor(t, numbers, AG_SHAPE(2, 2))},
           y[1];
    double grad[10];
    y[0] = ag_num(0);
    ag_program_call(t, n->all, x, y);
    ag_backward(y[0]);
    ag_read_grad(x[2], grad);
    if (ag_tape_status(t) == AG_OK) note_numbers(r, grad, 10);
    note_status(r, ag_tape_status(t), ag_tape_message(t));
    ag_tape_free(t);
}

enum { PARTS = 12 };

static void do_part(int part, results *r, const nest *n, const ag_options *o) {
    ag_program *q = NULL;
    const ag_compile_options cached = {.cache = folder};
    switch (part) {
    case 0: trace_all(r, o); break;
    case 1: q = ag_program_gradient(n->scan, NULL, 0); break;
    case 2: q = ag_program_gradient(n->states, NULL, 0); break;
    case 3: q = ag_program_jvp(n->scan, NULL, 0); break;
    case 4: q = ag_program_hvp(n->root, NULL, 0); break;
    case 5: q = ag_program_gradient(n->fixed, NULL, 0); break;
    case 6: q = ag_program_batch(n->guard, 3, NULL, NULL); break;
    case 7: on_a_tape(r, n, o); break;
    case 8: save(r, n->all); break;
    case 9: print(r, n->all); break;
    case 10: load(r, n->all, o->context); break;
    default: run_program(r, n->all, have_compiler ? &cached : NULL); break;
    }
    if (q) run_program(r, q, NULL);
    ag_program_free(q);
}

static results work(int part, int64_t at, budget *b, bool no_reserve) {
    results r = {0};
    ag_options options = {.permit = permit, .context = b, .no_reserve = no_reserve};
    b->left = INT64_MAX;
    nest n = open_nest(&options);
    b->left = at;
    do_part(part, &r, &n, &options);
    b->left = INT64_MAX;
    close_nest(&n);
    return r;
}

static void some_requests_refused(void **unused) {
    (void)unused;
    refuse_each(work, PARTS, false, true, 3);
}

static void refused_for_good(void **unused) {
    (void)unused;
    refuse_each(work, PARTS, true, true, 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(some_requests_refused),
        cmocka_unit_test(refused_for_good),
    };
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}
