/* Sweeps and their adjoints, and recorded derivatives. */
#include "on_each_tape.h"
#include "operations.h"
#include "programs.h"

#include <autograd/tape/tape_impl.h>

/* ---- sweeps ---- */

static void sweeping_on(ag_tape *t) {
    const double data[3] = {1, 2, 3}, seed[3] = {1, 10, 100};
    ag_var x = ag_input(t, 2), v = ag_tensor(t, data, AG_SHAPE(3)), c = ag_constant(t, 5);
    check_number("before any sweep", ag_grad(x), 0);
    check_grads("before any sweep", v, (double[]){0, 0, 0});
    assert_null(ag_grad_data(v));
    ag_var a = ag_mul(x, x), b = ag_mul(a, c), w = ag_mul(v, x), s = ag_sum(ag_square(w)), later = ag_mul(x, 9);
    for (int i = 0; i < 3; i++) {
        ag_backward(b);
        check_number("x", ag_grad(x), 20);
        check_number("intermediate", ag_grad(a), 5);
        check_number("output", ag_grad(b), 1);
        check_number("constant", ag_grad(c), 0);
        check_number("later", ag_grad(later), 0);
        check_grads("tensor that does not matter", w, (double[]){0, 0, 0});
        ag_backward(s);
        check_number("x", ag_grad(x), 56);
        check_grads("v", v, (double[]){8, 16, 24});
        check_grads("w", w, (double[]){4, 8, 12});
        check_number("element", ag_grad(ag_at(v, 1)), 16);
        check_grads("view", ag_flip(ag_slice(v, 0, 1, AG_END, 1), 0), (double[]){24, 16});
        check_grads("expanded view", ag_expand(ag_at(v, 2), AG_SHAPE(2)), (double[]){24, 24});
        check_number("not on the way", ag_grad(a), 0);
        ag_backward(ag_at(w, 1));
        check_number("from an element", ag_grad(x), 2);
        check_grads("from an element", v, (double[]){0, 2, 0});
        ag_backward(x);
        check_number("from an input", ag_grad(x), 1);
        check_grads("nothing", v, (double[]){0, 0, 0});
        ag_backward(c);
        check_number("from a constant", ag_grad(x), 0);
    }
    ag_var ys[3] = {b, w, x}, seeds[3] = {ag_num(3), ag_constant_tensor(t, seed, AG_SHAPE(3)), ag_num(0.5)};
    ag_sweep(ys, seeds, 3, AG_RESET);
    check_number("three outputs", ag_grad(x), 60 + 321 + 0.5);
    check_grads("three outputs", v, (double[]){2, 20, 200});
    ag_sweep((ag_var[]){w, w, b}, (ag_var[]){ag_num(1), seeds[1], x}, 3, AG_RESET);
    check_grads("an output twice, a number for all", v, (double[]){4, 22, 202});
    check_number("a var as seed", ag_grad(x), 6 + 321 + 40);
    ag_sweep((ag_var[]){a, b}, NULL, 2, AG_RESET);
    check_number("seeds of one", ag_grad(x), 24);
    ag_var turned = ag_flip(w, 0);
    ag_sweep(&turned, &seeds[1], 1, AG_RESET);
    check_grads("from a view", v, (double[]){200, 20, 2});
    assert_non_null(ag_grad_data(v));
    ag_var p = ag_tensor(t, data, AG_SHAPE(3));
    ag_backward(ag_sum(ag_mul(p, x)));
    check_grads("reached", p, (double[]){2, 2, 2});
    ag_backward(a);
    check_number("an element of what is not reached any more", ag_grad(ag_at(p, 1)), 0);
    check_grads("not reached any more", p, (double[]){0, 0, 0});
}

static void sweeping(void **unused) {
    (void)unused;
    on_each_tape(sweeping_on);
}

/* ---- sweeps that let go of adjoints ---- */

enum { LARGE = 20000, MANY = 20 };

typedef struct forgetful {
    ag_var x, many[MANY], wave, turned, result, y;
} forgetful;

/* Large results that are used once, twice, by views and by elements, and more of them at a time than there are blocks. */
static forgetful record_large(ag_tape *t) {
    double *data = new_numbers(LARGE);
    for (int i = 0; i < LARGE; i++) data[i] = sin(i);
    forgetful f = {.x = ag_tensor(t, data, AG_SHAPE(LARGE))};
    free(data);
    for (int i = 0; i < MANY; i++) f.many[i] = ag_mul(f.x, i + 1.0);
    f.wave = ag_sin(f.x);
    f.turned = ag_square(ag_flip(f.wave, 0));
    f.result = ag_add(ag_mul(f.wave, f.turned), ag_mul(ag_at(f.many[3], 7), f.wave));
    ag_var first = ag_sum(ag_square(ag_stack(f.many, MANY, 0)));
    f.y = ag_add(first, ag_sum(ag_matmul(f.result, f.turned)));
    return f;
}

static void check_forgotten(ag_tape *t, const forgetful *f) {
    double *got = new_numbers(LARGE);
    ag_read_grad(f->turned, got);
    for (int i = 0; i < LARGE; i++) assert_true(isnan(got[i]));
    free(got);
    assert_null(ag_grad_data(f->turned));
    assert_null(ag_numbers_of(f->turned).grad);
    assert_non_null(ag_grad_data(f->x));
    check_number("the output", ag_grad(f->y), 1);
    size_t held = 0;
    for (size_t i = 0; i < sizeof t->blocks / sizeof *t->blocks; i++) {
        assert_false(t->blocks[i].used);
        held += t->blocks[i].size;
    }
    assert_true(held > 0 && held <= (MANY + 8) * LARGE * sizeof(double));
}

static void forgetting_on(ag_tape *t) {
    forgetful f = record_large(t);
    double *want = new_numbers(LARGE), *got = new_numbers(LARGE);
    ag_backward(f.y);
    ag_read_grad(f.x, want);
    for (int i = 0; i < 2; i++) {
        ag_sweep(&f.y, NULL, 1, AG_RESET_FORGET);
        ag_read_grad(f.x, got);
        assert_memory_equal(got, want, LARGE * sizeof *got);
        check_forgotten(t, &f);
    }
    ag_sweep(&f.y, NULL, 1, AG_ACCUMULATE_FORGET);
    ag_read_grad(f.x, got);
    check_forgotten(t, &f);
    for (int i = 0; i < LARGE; i++) want[i] *= 2;
    check_numbers("added to", "adjoint", got, want, LARGE, ag_tape_type(t) == AG_F64 ? 1e-12 : 1e-5);
    assert_true(isnan(ag_grad(ag_at(f.turned, 3)))); /* is kept from now on, as all of it */
    ag_sweep(&f.y, NULL, 1, AG_RESET_FORGET);
    assert_true(ag_grad(ag_at(f.turned, 3)) != 0);
    assert_null(ag_grad_data(f.result));
    ag_backward(f.y);
    assert_non_null(ag_grad_data(f.result));
    ag_tape_trim(t);
    assert_null(t->blocks[0].data);
    free(want), free(got);
}

static void forgetting(void **unused) {
    (void)unused;
    on_each_tape(forgetting_on);
}

/* Refuses what an adjoint of a large result would take. */
static bool permit_unless(void *refuse, size_t bytes) {
    return !*(bool *)refuse || bytes % (LARGE * sizeof(double)) != 0;
}

static void forgetting_without_memory(void **unused) {
    (void)unused;
    bool refuse = false;
    ag_tape *t = ag_tape_new_with(&(ag_options){.permit = permit_unless, .context = &refuse});
    forgetful f = record_large(t);
    double *want = new_numbers(LARGE), *got = new_numbers(LARGE);
    ag_backward(f.y);
    ag_read_grad(f.x, want);
    refuse = true;
    ag_sweep(&f.y, NULL, 1, AG_RESET_FORGET);
    ag_read_grad(f.x, got);
    assert_memory_equal(got, want, LARGE * sizeof *got);
    check_fine("no block was to be had", t);
    assert_null(t->blocks[0].data);
    assert_non_null(ag_grad_data(f.turned));
    ag_tape_free(t);
    free(want), free(got);
}

static void accumulating_on(ag_tape *t) {
    const double data[3] = {1, 2, 3};
    ag_var x = ag_input(t, 2), v = ag_tensor(t, data, AG_SHAPE(3)), u = ag_tensor(t, data, AG_SHAPE(3));
    ag_var a = ag_mul(x, x), w = ag_mul(v, x), s = ag_sum(w), one = ag_num(1), e = ag_at(u, 1);
    for (int i = 1; i <= 3; i++) {
        ag_sweep(&a, &one, 1, i == 1 ? AG_RESET : AG_ACCUMULATE);
        check_number("x after a", ag_grad(x), 10 * (i - 1) + 4);
        ag_sweep(&s, &one, 1, AG_ACCUMULATE);
        check_number("x after s", ag_grad(x), 10 * i);
        check_grads("v", v, (double[]){2.0 * i, 2.0 * i, 2.0 * i});
        check_grads("results start from 0", w, (double[]){1, 1, 1});
        check_number("results start from 0", ag_grad(a), 0);
        check_grads("untouched", u, (double[]){0, 0, 0});
    }
    ag_sweep(&e, &one, 1, AG_ACCUMULATE);
    check_grads("element of an input", u, (double[]){0, 1, 0});
    check_grads("others stay", v, (double[]){6, 6, 6});
    ag_var p = ag_tensor(t, data, AG_SHAPE(3)), k = ag_input(t, 4); /* new since the last sweep */
    ag_var q = ag_add(ag_sum(ag_mul(p, u)), ag_mul(k, ag_at(p, 0)));
    ag_sweep(&q, &one, 1, AG_ACCUMULATE);
    check_grads("new tensor", p, (double[]){1 + 4, 2, 3});
    check_number("new scalar", ag_grad(k), 1);
    check_grads("u", u, (double[]){1, 3, 3});
    ag_sweep(&q, &one, 1, AG_ACCUMULATE);
    check_grads("u again", u, (double[]){2, 5, 6});
    check_number("k again", ag_grad(k), 2);
    ag_backward(q);
    check_grads("reset", u, (double[]){1, 2, 3});
    check_grads("reset", v, (double[]){0, 0, 0});
}

static void accumulating(void **unused) {
    (void)unused;
    on_each_tape(accumulating_on);
}

/* Parameters keep their accumulated adjoints while the rest is rewound, as in training. */
static void accumulating_over_rewinds(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    const double data[3] = {1, 2, 3};
    ag_var v = ag_tensor(t, data, AG_SHAPE(3)), x = ag_input(t, 2), one = ag_num(1);
    ag_mark mark = ag_tape_mark(t);
    for (int i = 1; i <= 4; i++) {
        ag_var y = ag_sum(ag_mul(ag_exp(ag_mul(v, 0)), ag_mul(x, (double)i)));
        y = ag_add(y, ag_mul(ag_at(v, 0), ag_vdot(v, v)));
        ag_sweep(&y, &one, 1, i == 1 ? AG_RESET : AG_ACCUMULATE);
        check_number("x", ag_grad(x), 3 * i * (i + 1) / 2.0);
        check_grads("v", v, (double[]){(14 + 2) * i, 4 * i, 6 * i});
        ag_tape_rewind(t, mark);
    }
    ag_step(v, -1);
    check_read("step", v, (double[]){1 - 64, 2 - 16, 3 - 24});
    ag_tape_free(t);
}

/* Other outputs, recorded before the one that is swept, add nothing: not even 0 times infinity, or time. */
static int visits;
static bool visited_shape(ag_call *c) {
    c->shape = ag_make_shape_(c->in[0].view->rank, c->in[0].view->dim);
    return true;
}
static bool visited_forward(const ag_call *c) {
    memcpy(c->out.data, c->in[0].data, (size_t)c->out.view->count * (c->type == AG_F64 ? 8 : 4));
    return true;
}
static bool visited_adjoint(const ag_call *c) {
    (void)c;
    visits++;
    return true;
}
static const ag_operation VISITED = {
    .name = "visited", .shape = visited_shape, .forward = visited_forward, .adjoint = visited_adjoint};

static void other_outputs_on(ag_tape *t) {
    const double data[4] = {1, 2, 3, 4}, infinite[4] = {INFINITY, 1, 1, 1};
    ag_var a = ag_tensor(t, data, AG_SHAPE(2, 2)), b = ag_constant_tensor(t, infinite, AG_SHAPE(2, 2)),
           x = ag_input(t, 3);
    ag_var z = ag_sum(ag_matmul(a, b)), visited = ag_apply(&VISITED, &a, 1, NULL, 0), w = ag_sum(visited);
    ag_var e = ag_at(ag_matmul(a, b), 0), u = ag_at(ag_apply(&VISITED, &a, 1, NULL, 0), 1), g;
    ag_var y = ag_mul(ag_sum(ag_mul(a, 3)), x);
    visits = 0;
    for (int i = 0; i < 3; i++) {
        ag_sweep(&y, &(ag_var){0}, 0, AG_RESET);
        ag_backward(y);
        check_grads("with other outputs", a, (double[]){9, 9, 9, 9});
        check_number("with other outputs", ag_grad(x), 30);
        assert_int_equal(visits, 0);
        assert_true(ag_grad(z) == 0 && ag_grad(w) == 0 && ag_grad(e) == 0 && ag_grad(u) == 0);
        check_grads("another output's way", visited, (double[]){0, 0, 0, 0});
    }
    ag_gradient(y, &a, 1, &g);
    check_read("with other outputs, recorded", g, (double[]){9, 9, 9, 9});
    ag_backward(w);
    assert_int_equal(visits, 1);
    check_grads("the other output", visited, (double[]){1, 1, 1, 1});
}

static void other_outputs(void **unused) {
    (void)unused;
    on_each_tape(other_outputs_on);
}

static void zero_sizes_on(ag_tape *t) {
    const double data[3] = {1, 2, 3};
    ag_var v = ag_tensor(t, data, AG_SHAPE(3)), none = ag_slice(v, 0, 3, AG_END, 1),
           e = ag_tensor(t, NULL, AG_SHAPE(0, 4));
    ag_var x = ag_input(t, 2), g[4], column = ag_tensor(t, data, AG_SHAPE(1, 1));
    assert_int_equal(ag_count(none), 0);
    assert_int_equal(ag_count(e), 0);
    ag_var y = ag_add(ag_sum(ag_exp(ag_mul(e, x))), ag_mul(x, ag_sum(none)));
    y = ag_add(y, ag_sum(ag_mul(column, e)));
    y = ag_add(y, ag_sum(ag_mul(ag_flip(ag_transpose(e), 0), 2)));
    y = ag_add(y, ag_vdot(v, v));
    check_number("value", ag_value(y), 14);
    ag_backward(y);
    check_grads("v", v, (double[]){2, 4, 6});
    check_number("x", ag_grad(x), 0);
    ag_gradient(y, (ag_var[]){v, e, x, none}, 4, g);
    check_read("recorded", g[0], (double[]){2, 4, 6});
    assert_int_equal(ag_count(g[1]), 0);
    assert_int_equal(ag_shape_of(g[1]).dim[1], 4);
    check_number("recorded", ag_value(g[2]), 0);
    assert_int_equal(ag_count(g[3]), 0);
    ag_var j = ag_jacobian(v, e), one = ag_num(1), out;
    assert_int_equal(ag_shape_of(j).rank, 3);
    assert_int_equal(ag_count(j), 0);
    ag_var w = ag_mul(e, x);
    ag_jvp(&w, 1, &x, &one, 1, &out);
    assert_int_equal(ag_count(out), 0);
    ag_sweep(&w, &one, 1, AG_RESET);
    check_number("sweep from nothing", ag_grad(x), 0);
}

static void zero_sizes(void **unused) {
    (void)unused;
    on_each_tape(zero_sizes_on);
}

static void rank_eight_on(ag_tape *t) {
    const ag_shape shape = AG_SHAPE(2, 1, 3, 1, 2, 1, 2, 2);
    double data[48];
    for (int i = 0; i < 48; i++) data[i] = i;
    ag_var x = ag_tensor(t, data, shape), y = ag_permute(x, AG_AXES(7, 6, 5, 4, 3, 2, 1, 0));
    ag_var z = ag_mul(y, ag_flip(y, 5)), s = ag_sum(ag_mul(z, ag_permute(x, AG_AXES(6, 7, 1, 0, 3, 2, 5, 4)))), g;
    ag_backward(s);
    double sweep[48], recorded[48];
    ag_read_grad(x, sweep);
    ag_gradient(s, &x, 1, &g);
    ag_read(g, recorded);
    check_numbers("rank 8", "recorded", recorded, sweep, 48, 1e-6);
    double along = 0, inner = 0;
    for (int i = 0; i < 48; i++) along += sweep[i] * data[i];
    inner = 3 * ag_value(s); /* homogeneous of degree 3 */
    if (fabs(along - inner) > 1e-5 * fabs(inner)) fail_msg("%g, should be %g", along, inner);
}

static void rank_eight(void **unused) {
    (void)unused;
    on_each_tape(rank_eight_on);
}

static void two_tapes(void **unused) {
    (void)unused;
    ag_tape *s = ag_tape_new(AG_F64), *t = ag_tape_new(AG_F32);
    ag_var x = ag_input(s, 3), y = ag_input(t, 4);
    for (int i = 0; i < 10; i++) x = ag_mul(x, 1.5), y = ag_add(ag_sin(y), 1);
    ag_tape_clear(t);
    ag_var z = ag_mul(x, x);
    ag_backward(z);
    check_number("x", ag_grad(x), 2 * ag_value(x));
    assert_true(ag_is_inert(y));
    ag_tape_free(t);
    check_number("x", ag_grad(x), 2 * ag_value(x));
    ag_tape_free(s);
}

/* ---- recorded derivatives ---- */

/* Of intermediates, also where one x depends on another: each derivative goes through every path. */
static void gradients_of_intermediates_on(ag_tape *t) {
    const double data[2] = {2, 3};
    ag_var x = ag_input(t, 2), u = ag_mul(x, x), w = ag_mul(u, x), y = ag_add(ag_mul(w, u), x), g[4];
    ag_gradient(y, (ag_var[]){x, u, w, y}, 4, g); /* y = x^5 + x = u^2 x + x = w u + x */
    check_number("x", ag_value(g[0]), 81);
    check_number("u", ag_value(g[1]), 16);
    check_number("w", ag_value(g[2]), 4);
    check_number("y", ag_value(g[3]), 1);
    ag_gradient(g[1], &x, 1, g); /* 2 u x */
    check_number("second order", ag_value(g[0]), 6 * 4);
    ag_var out, ones[2] = {ag_num(1), ag_num(1)};
    ag_jvp(&y, 1, (ag_var[]){x, u}, ones, 2, &out);
    check_number("directions add up", ag_value(out), 97);

    ag_var v = ag_tensor(t, data, AG_SHAPE(2)), e = ag_exp(v), f = ag_mul(e, v), s = ag_sum(ag_mul(f, e));
    ag_gradient(s, (ag_var[]){v, e, f, ag_at(e, 1)}, 4, g); /* s = sum v e^2 */
    double e0 = exp(2), e1 = exp(3);
    if (ag_tape_type(t) == AG_F32) return; /* the numbers are too large to be compared */
    check_read("v", g[0], (double[]){e0 * e0 * 5, e1 * e1 * 7});
    check_read("e", g[1], (double[]){4 * e0, 6 * e1});
    check_read("f", g[2], (double[]){e0, e1});
    check_number("element", ag_value(g[3]), 6 * e1);
    ag_gradient(x, (ag_var[]){v, y, ag_constant(t, 3), ag_num(2)}, 4, g);
    check_read("nothing to do with it", g[0], (double[]){0, 0});
    for (int i = 1; i < 4; i++) check_number("nothing to do with it", ag_value(g[i]), 0);
}

static void gradients_of_intermediates(void **unused) {
    (void)unused;
    on_each_tape(gradients_of_intermediates_on);
}

/* Views of a scalar share its slot: what arrives through each has to be summed. */
static void gradients_through_views_of_scalars_on(ag_tape *t) {
    const double c[3] = {1, 2, 3};
    ag_var x = ag_input(t, 2), k = ag_constant_tensor(t, c, AG_SHAPE(3)), g, one = ag_num(1), d;
    const ag_var ys[] = {
        ag_sum(ag_mul(ag_expand(x, AG_SHAPE(3)), k)),
        ag_add(ag_mul(x, 10), ag_sum(ag_mul(ag_expand(x, AG_SHAPE(3)), k))),
        ag_sum(ag_mul(ag_reshape(x, AG_SHAPE(1, 1)), k)),
        ag_sum(ag_mul(ag_unsqueeze(x, 0), ag_expand(x, AG_SHAPE(3)))),
        ag_mul(ag_sum(ag_mul(ag_reshape(ag_mul(x, x), AG_SHAPE(1)), k)), ag_at(k, 1)),
    };
    const double want[] = {6, 16, 6, 12, 48};
    for (int i = 0; i < 5; i++) {
        ag_backward(ys[i]);
        check_number("sweep", ag_grad(x), want[i]);
        ag_gradient(ys[i], &x, 1, &g);
        check_fine("gradient", t);
        assert_int_equal(ag_shape_of(g).rank, 0);
        check_number("recorded", ag_value(g), want[i]);
        ag_jvp(&ys[i], 1, &x, &one, 1, &d);
        check_number("tangent", ag_value(d), want[i]);
        ag_var flat = ag_reshape(x, AG_SHAPE(1));
        ag_gradient(ys[i], &flat, 1, &g);
        assert_int_equal(ag_shape_of(g).rank, 1);
        check_number("by a view", ag_value(g), want[i]);
    }
}

static void gradients_through_views_of_scalars(void **unused) {
    (void)unused;
    on_each_tape(gradients_through_views_of_scalars_on);
}

static ag_shape joined(ag_shape a, ag_shape b) {
    for (int i = 0; i < b.rank; i++) a.dim[a.rank++] = b.dim[i];
    return a;
}

/* y = A x, whose Jacobian is A, in all shapes. */
static void jacobians(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    double a[24];
    for (int i = 0; i < 24; i++) a[i] = (i * 7) % 11 - 5;
    const ag_shape shapes[] = {
        {0}, AG_SHAPE(1), AG_SHAPE(2), AG_SHAPE(4), AG_SHAPE(2, 2), AG_SHAPE(3, 2), AG_SHAPE(1, 2, 1, 3)};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        for (size_t j = 0; j < sizeof shapes / sizeof *shapes; j++) {
            int64_t m = shape_count(shapes[i]), n = shape_count(shapes[j]);
            if (m * n > 24) continue;
            double *zeros = new_numbers(n);
            ag_var x = ag_tensor(t, zeros, shapes[j]), matrix = ag_constant_tensor(t, a, AG_SHAPE(m, n));
            ag_var y = ag_reshape(ag_matmul(matrix, ag_reshape(x, AG_SHAPE(n))), shapes[i]);
            check_values("jacobian", ag_jacobian(y, x), joined(shapes[i], shapes[j]), a, 1e-15);
            if (m == 1) {
                ag_var q = ag_square(ag_reshape(y, (ag_shape){0}));
                double *want = new_numbers(n * n);
                for (int64_t k = 0; k < n * n; k++) want[k] = 2 * a[k / n] * a[k % n];
                check_values("hessian", ag_hessian(q, x), joined(shapes[j], shapes[j]), want, 1e-14);
                free(want);
            }
            free(zeros);
        }
    }
    ag_tape_free(t);
}

/* d/dx (x * d/dy (x + y)) = 1, and the like in all mixes of modes; Siskind & Pearlmutter 2005. */
static ag_var derivative(ag_var y, ag_var x, bool forward) {
    ag_var d, one = ag_num(1);
    if (forward) ag_jvp(&y, 1, &x, &one, 1, &d);
    else ag_gradient(y, &x, 1, &d);
    return d;
}

static void perturbations_are_not_confused(void **unused) {
    (void)unused;
    for (int mode = 0; mode < 4; mode++) {
        ag_tape *t = ag_tape_new(AG_F64);
        bool inner = mode & 1, outer = mode & 2;
        ag_var x = ag_input(t, 1), y = ag_input(t, 1);
        ag_var z = ag_mul(x, derivative(ag_add(x, y), y, inner));
        check_number("d/dx (x d/dy (x + y))", ag_value(derivative(z, x, outer)), 1);
        z = ag_mul(x, derivative(ag_mul(x, y), y, inner));
        check_number("d/dx (x d/dy (x y))", ag_value(derivative(z, x, outer)), 2);
        z = derivative(ag_mul(ag_mul(x, x), ag_sin(ag_mul(x, y))), y, inner); /* x^3 cos(x y) */
        check_number("d/dx x^3 cos(x y)", ag_value(derivative(z, x, outer)), 3 * cos(1) - sin(1));
        /* the variable itself, named by its derivative: d/dx (x d/dx' (x' x) at x' = x) */
        ag_var copy = ag_mul(x, 1);
        z = ag_mul(x, derivative(ag_mul(copy, x), copy, inner));
        check_number("d/dx (x d/dx' (x' x))", ag_value(derivative(z, x, outer)), 2);
        const double data[2] = {2, 3};
        ag_var v = ag_tensor(t, data, AG_SHAPE(2)), w = ag_tensor(t, data, AG_SHAPE(2));
        ag_var s = ag_sum(ag_mul(ag_mul(v, w), w)), g = v, h;
        ag_gradient(s, &w, 1, &g);             /* 2 v w */
        ag_gradient(ag_vdot(g, v), &v, 1, &h); /* 4 v w */
        check_read("tensors", h, (double[]){16, 36});
        check_fine("nested derivatives", t);
        ag_tape_free(t);
    }
}

static bool reached(ag_var x) { return ag_numbers_of(x).grad != NULL; }

/* Of scalars that are watched a sweep tells whether it reached them, be their adjoint 0 or not. */
static void watched_scalars(ag_tape *t) {
    ag_var x[6];
    for (int i = 0; i < 6; i++) x[i] = ag_input(t, i + 1);
    for (int i = 5; i >= 0; i--) ag_watch(x[i]); /* in any order */
    ag_watch(x[3]);                              /* again: nothing */
    ag_mark mark = ag_tape_mark(t);
    for (int i = 0; i < 6; i++) assert_false(reached(x[i]));
    ag_var tensor = ag_mul(x[1], ag_full(t, 2, AG_SHAPE(3)));
    ag_var y = ag_add(ag_mul(x[0], 0), ag_sum(ag_mul(tensor, ag_gt(x[2], 0))));
    y = ag_add(y, ag_mul(ag_relu(ag_sub(x[3], 100)), ag_detach(x[4]))); /* x[3]: by 0 */
    ag_backward(y);
    ag_tape_rewind(t, mark);
    const bool first[] = {true, true, false, true, false, false};
    for (int i = 0; i < 6; i++) assert_int_equal(reached(x[i]), first[i]);
    check_number("by a factor of 0", ag_grad(x[0]), 0);
    check_number("by a tensor", ag_grad(x[1]), 6);
    y = ag_square(x[4]);
    ag_sweep(&y, NULL, 1, AG_ACCUMULATE);
    for (int i = 0; i < 6; i++) assert_int_equal(reached(x[i]), first[i] || i == 4);
    ag_tape_rewind(t, mark);
    ag_backward(x[5]);
    for (int i = 0; i < 6; i++) assert_int_equal(reached(x[i]), i == 5);
    ag_tape_rewind(t, mark);
    ag_var later = ag_input(t, 1), results[] = {ag_exp(x[2]), ag_sin(x[0])};
    ag_watch(later);
    ag_watch(results[0]); /* no input: nothing */
    ag_watch(ag_num(1));
    ag_sweep(results, NULL, 2, AG_RESET);
    for (int i = 0; i < 6; i++) assert_int_equal(reached(x[i]), i == 0 || i == 2);
    assert_false(reached(later));
    assert_true(reached(results[0]));
    ag_tape_rewind(t, mark);
    later = ag_input(t, 1); /* in the slot of one that was watched */
    ag_backward(x[0]);
    ag_backward(ag_square(later));
    assert_true(reached(later));
    check_fine("watched scalars", t);
    ag_tape_clear(t);
    x[0] = ag_input(t, 1);
    ag_backward(ag_square(x[0]));
    assert_true(reached(x[0]));
}

static bool permit_some(void *left, size_t bytes) {
    (void)bytes;
    return --*(int *)left >= 0;
}

/* Watching and the sweep after it, with every request for memory refused in turn. */
static void watching_without_memory(void **unused) {
    (void)unused;
    bool done = false;
    for (int n = 0; !done; n++) {
        int left = 1000;
        ag_tape *t = ag_tape_new_with(&(ag_options){.permit = permit_some, .context = &left, .no_reserve = true});
        ag_var x = ag_input(t, 2), other = ag_input(t, 3), y = ag_square(x);
        left = n;
        ag_watch(other);
        ag_watch(x);
        ag_backward(y);
        done = ag_tape_status(t) == AG_OK;
        if (!done) {
            assert_int_equal(ag_tape_status(t), AG_ERR_MEMORY);
            ag_tape_recover(t);
            left = 1000;
            ag_watch(other);
            ag_watch(x);
            ag_backward(y);
        }
        assert_true(reached(x) && !reached(other));
        check_number("of what is watched", ag_grad(x), 4);
        check_fine("watched", t);
        ag_tape_free(t);
        assert_true(n > 0 || !done);
    }
}

static void check_numbers_of(ag_var x, int64_t count, bool reached) {
    ag_numbers n = ag_numbers_of(x);
    assert_int_equal(n.count, count);
    assert_ptr_equal(n.data, ag_data(x));
    assert_ptr_equal(n.grad, reached ? ag_grad_data(x) : NULL);
    assert_int_equal(n.grad != NULL, reached);
}

/* Where numbers lie, and whether a sweep reached them. */
static void numbers_in_place(ag_tape *t) {
    const double data[6] = {1, 2, 3, 4, 5, 6};
    ag_var x = ag_tensor(t, data, AG_SHAPE(2, 3)), apart = ag_tensor(t, data, AG_SHAPE(4)), s = ag_input(t, 2);
    ag_var c = ag_constant_tensor(t, data, AG_SHAPE(3)), empty = ag_tensor(t, NULL, AG_SHAPE(0));
    ag_mark mark = ag_tape_mark(t);
    check_numbers_of(x, 6, false);
    ag_var y = ag_mul(ag_sum(ag_square(x)), s), one = ag_num(1), z = ag_sum(apart);
    ag_backward(y);
    for (int rewound = 0; rewound < 2; rewound++) {
        check_numbers_of(x, 6, true);
        check_numbers_of(s, 1, true);
        check_numbers_of(apart, 4, false);
        check_numbers_of(c, 3, false);
        assert_int_equal(ag_numbers_of(empty).count, 0);
        if (!rewound) check_numbers_of(ag_slice(x, 0, 1, 2, 1), 3, true);
        if (!rewound) assert_null(ag_numbers_of(ag_transpose(x)).data);
        if (!rewound) ag_sweep(&z, &one, 1, AG_ACCUMULATE); /* x keeps what it has */
        if (!rewound) check_numbers_of(apart, 4, true);
        if (!rewound) ag_backward(y);
        ag_tape_rewind(t, mark);
    }
    ag_numbers stale = ag_numbers_of(y), number = ag_numbers_of(ag_num(3));
    assert_true(stale.data == NULL && stale.grad == NULL && stale.count == 0);
    assert_true(number.data == NULL && number.grad == NULL && number.count == 0);
}
static void numbers_on_each_tape(void **unused) {
    (void)unused;
    on_each_tape(numbers_in_place);
    on_each_tape(watched_scalars);
    watching_without_memory(unused);
}

/* Adjoints of an operation of x and y and of y^2, recorded before or after it. */
static void swept_beside_square(ag_tape *t, ag_opcode op, const double *at, bool alike, double seed, bool before,
                                double *grad) {
    ag_tape_clear(t);
    ag_var x[2] = {ag_input(t, at[0]), ag_input(t, at[1])}, outputs[2], seeds[2] = {ag_num(seed), ag_num(1)};
    if (alike) x[0] = x[1];
    if (before) outputs[1] = ag_square(x[1]);
    outputs[0] = ag_apply2_(op, x[0], x[1]);
    if (!before) outputs[1] = ag_square(x[1]);
    ag_sweep(outputs, seeds, 2, AG_RESET);
    for (int k = 0; k < 2; k++) grad[k] = ag_grad(x[k]);
}
static void check_operand_used_later(ag_tape *t, ag_opcode op, const double *at, double seed, bool alike) {
    double after[2], before[2];
    swept_beside_square(t, op, at, alike, seed, false, after);
    swept_beside_square(t, op, at, alike, seed, true, before);
    for (int k = 0; k < 2; k++) {
        /* Alike, three terms are added in another order. */
        double most = alike && isfinite(before[k]) ? 4e-6 + 1e-6 * fabs(before[k]) : 0;
        if (fabs(after[k] - before[k]) <= most || same_bits(after[k], before[k])) continue;
        fail_msg("%s at (%g, %g), seed %g: adjoint %d is %.17g, not %.17g", ag_op_table[op].name, at[0], at[1], seed, k,
                 after[k], before[k]);
    }
}
/* The sweep has the adjoint of y at hand when it comes to the operation after the square. */
static void operands_used_later(void **unused) {
    (void)unused;
    static const double numbers[] = {0, -0.0, 1, -2, 0.5, 1e300, INFINITY, -INFINITY, NAN},
                        seeds[] = {1, -1, 0, INFINITY, NAN};
    enum { NUMBERS = sizeof numbers / sizeof *numbers, SEEDS = sizeof seeds / sizeof *seeds };
    for (int op = 0; op < AG_OPCODES; op++) {
        for (int i = 0; i < NUMBERS * NUMBERS * SEEDS && ag_op_table[op].arity == 2; i++) {
            double at[2] = {numbers[i % NUMBERS], numbers[i / NUMBERS % NUMBERS]},
                   seed = seeds[i / (NUMBERS * NUMBERS)];
            for (int k = 0; k < 4; k++)
                check_operand_used_later(fresh_tape(k % 2 ? AG_F32 : AG_F64), (ag_opcode)op, at, seed, k > 1);
        }
    }
}

/* Derivatives of derivatives to order 8: of x^8, and of exp. */
static void high_orders(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = ag_input(t, 1.5), y = ag_pow(x, 8), e = ag_exp(ag_mul(x, 2));
    double factor = 1;
    for (int k = 1; k <= 8; k++) {
        y = derivative(y, x, k % 2);
        e = derivative(e, x, k % 3 == 0);
        factor *= 9 - k;
        check_number("x^8", ag_value(y) / pow(1.5, 8 - k), factor);
        check_number("exp 2x", ag_value(e) / exp(3), pow(2, k));
    }
    check_number("x^8", ag_value(derivative(y, x, false)), 0);
    ag_tape_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sweeping),
        cmocka_unit_test(accumulating),
        cmocka_unit_test(forgetting),
        cmocka_unit_test(forgetting_without_memory),
        cmocka_unit_test(accumulating_over_rewinds),
        cmocka_unit_test(other_outputs),
        cmocka_unit_test(zero_sizes),
        cmocka_unit_test(rank_eight),
        cmocka_unit_test(two_tapes),
        cmocka_unit_test(gradients_of_intermediates),
        cmocka_unit_test(gradients_through_views_of_scalars),
        cmocka_unit_test(jacobians),
        cmocka_unit_test(perturbations_are_not_confused),
        cmocka_unit_test(numbers_on_each_tape),
        cmocka_unit_test(operands_used_later),
        cmocka_unit_test(high_orders),
    };
    return cmocka_run_group_tests(tests, NULL, free_tapes);
}
