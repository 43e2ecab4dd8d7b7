/* The tape: leaves, pausing, marks, clearing, long tapes. */
#include "on_each_tape.h"

#include <autograd/tape/tape_impl.h>

/* ---- leaves ---- */

static void leaves_on(ag_tape *t) {
    const double six[6] = {1, 2, 3, 4, 5, 6}, other[6] = {6, 5, 4, 3, 2, 1}, two = 2, seven = 7;
    const float floats[2] = {0.5F, 0.25F};
    ag_var x = ag_input(t, 2), c = ag_constant(t, 3), v = ag_tensor(t, six, AG_SHAPE(2, 3));
    ag_var k = ag_constant_tensor(t, six, AG_SHAPE(6)), f = ag_tensor_f32(t, floats, AG_SHAPE(2));
    ag_var z = ag_tensor(t, NULL, AG_SHAPE(2)), point = ag_tensor(t, &two, (ag_shape){0});
    assert_false(ag_is_constant(x) || ag_is_constant(v) || ag_is_constant(f) || ag_is_constant(point));
    assert_true(ag_is_constant(c) && ag_is_constant(k) && ag_is_constant(ag_zeros(t, AG_SHAPE(2))));
    check_number("point", ag_value(point), 2);
    assert_int_equal(ag_shape_of(point).rank, 0);
    check_read("zeros", z, (double[]){0, 0});
    check_read("floats", f, (double[]){0.5, 0.25});
    check_read("full", ag_full(t, 2.5, AG_SHAPE(2)), (double[]){2.5, 2.5});
    check_read("ones", ag_ones(t, AG_SHAPE(2)), (double[]){1, 1});
    check_read("eye", ag_eye(t, 2), (double[]){1, 0, 0, 1});
    check_read("arange", ag_arange(t, 1, -0.5, 3), (double[]){1, 0.5, 0});
    float back[6];
    ag_read_f32(v, back);
    assert_true(back[5] == 6.0F);

    ag_var y = ag_mul(ag_sum(v), ag_mul(x, ag_add(c, point)));
    ag_set(v, other);
    ag_set(x, &seven);
    ag_set(c, &two);
    ag_set(ag_at(k, 1), &seven);
    ag_set(ag_index(v, 0, 1), (double[]){30, 20, 10});
    ag_set_f32(f, (float[]){1.5F, 2.5F});
    check_number("set scalar", ag_value(x), 7);
    check_number("set constant", ag_value(c), 2);
    check_read("set", v, (double[]){6, 5, 4, 30, 20, 10});
    check_read("set_f32", f, (double[]){1.5, 2.5});
    check_number("set element", ag_value(ag_at(k, 1)), 7);
    check_number("what was recorded keeps its value", ag_value(y), 210);
    y = ag_mul(ag_sum(v), x);
    check_number("recorded from new values", ag_value(y), 525);
    ag_backward(y);
    ag_step(v, -0.5);
    ag_step(x, 0.125);
    check_number("step", ag_value(x), 7 + 75 * 0.125);
    check_read("step", v, (double[]){2.5, 1.5, 0.5, 26.5, 16.5, 6.5});
    *(char *)ag_data(v) = 0;
    assert_null(ag_data(ag_transpose(v)));
    assert_non_null(ag_data(ag_index(v, 0, 1)));
}

static void leaves(void **unused) {
    (void)unused;
    on_each_tape(leaves_on);
}

static void only_leaves_can_be_set(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    const double three[3] = {1, 2, 3};
    ag_var x = ag_input(t, 2), v = ag_tensor(t, three, AG_SHAPE(3));
    const ag_var wrong[] = {
        ag_mul(x, x), ag_sin(x), ag_exp(v), ag_sum(v), ag_at(ag_exp(v), 1), ag_flip(v, 0), ag_expand(x, AG_SHAPE(3)),
        ag_mul(x, 3)};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ag_set(wrong[i], three);
        assert_int_equal(ag_tape_status(t), AG_ERR_VALUE);
        ag_tape_recover(t);
        ag_step(wrong[i], 1);
        assert_int_equal(ag_tape_status(t), AG_ERR_VALUE);
        ag_tape_recover(t);
    }
    check_number("value", ag_value(wrong[0]), 4);
    ag_tape_free(t);
}

/* ---- pausing ---- */

static void pausing_on(ag_tape *t) {
    const double data[4] = {1, 2, 3, 4};
    ag_var x = ag_input(t, 3), v = ag_tensor(t, data, AG_SHAPE(2, 2));
    ag_stats before = ag_tape_stats(t);
    ag_pause(t);
    ag_var a = ag_mul(x, x), s = ag_sum(ag_exp(v)), view = ag_transpose(v), element = ag_at(v, 1),
           leaf = ag_input(t, 5);
    ag_pause(t);
    ag_var b = ag_sin(x);
    ag_resume(t);
    ag_var c = ag_add(x, 1), d = ag_add(ag_square(v), x);
    ag_stats during = ag_tape_stats(t);
    ag_resume(t);
    assert_true(ag_is_constant(a) && ag_is_constant(b) && ag_is_constant(c) && ag_is_constant(s) && ag_is_constant(d));
    assert_false(ag_is_constant(view) || ag_is_constant(element) || ag_is_constant(leaf));
    assert_int_equal(during.scalar_instructions, before.scalar_instructions);
    assert_int_equal(during.tensor_instructions, before.tensor_instructions);
    check_number("value while paused", ag_value(a), 9);
    ag_var y = ag_add(ag_mul(a, x), ag_add(ag_mul(element, s), ag_mul(leaf, c)));
    y = ag_add(y, ag_sum(ag_mul(view, d)));
    ag_backward(y);
    check_number("a is constant", ag_grad(x), 9);
    check_number("a leaf made while paused is an input", ag_grad(leaf), 4);
    check_grads("views keep their derivative", v, (double[]){4, 12 + ag_value(s), 7, 19});
}

static void pausing(void **unused) {
    (void)unused;
    on_each_tape(pausing_on);
    ag_tape *t = ag_tape_new(AG_F64);
    ag_pause(t);
    ag_tape_clear(t); /* a cleared tape is not paused */
    ag_var x = ag_input(t, 3), y = ag_mul(x, x), g;
    assert_false(ag_is_constant(y));
    ag_pause(t);
    ag_gradient(y, &x, 1, &g);
    ag_resume(t);
    check_number("gradient while paused", ag_value(g), 6);
    assert_true(ag_is_constant(g));
    ag_resume(t);
    assert_int_equal(ag_tape_status(t), AG_ERR_VALUE);
    ag_tape_free(t);
}

static void detaching_on(ag_tape *t) {
    const double data[4] = {1, 2, 3, 4};
    ag_var x = ag_input(t, 3), v = ag_tensor(t, data, AG_SHAPE(2, 2)), c = ag_constant(t, 2);
    ag_var d = ag_detach(ag_mul(x, x)), w = ag_detach(ag_transpose(v));
    assert_true(ag_is_constant(d) && ag_is_constant(w) && ag_is_constant(ag_detach(c)));
    check_number("number", ag_value(ag_detach(ag_num(4))), 4);
    check_read("detached view", w, (double[]){1, 3, 2, 4});
    ag_backward(ag_add(ag_mul(d, x), ag_sum(ag_mul(w, v))));
    check_number("x", ag_grad(x), 9);
    check_grads("v", v, (double[]){1, 3, 2, 4});
}

static void detaching(void **unused) {
    (void)unused;
    on_each_tape(detaching_on);
}

/* ---- marks ---- */

/* Something of everything, so that a rewind has to take back slots, instructions, tensors, names and checkpoints. */
static ag_var mixture(ag_var x, ag_var v) {
    ag_var y = ag_mul(ag_sin(x), ag_add(x, 2));
    ag_var w = ag_mul(ag_exp(ag_mul(v, 0.5)), x);
    ag_name(w, "w");
    return ag_add(ag_mul(y, ag_at(w, 1)), ag_sum(ag_mul(ag_flip(w, 0), v)));
}

static void rewinding_on(ag_tape *t) {
    const double data[3] = {1, 2, 3};
    ag_var x = ag_input(t, 0.5), v = ag_tensor(t, data, AG_SHAPE(3)), older = ag_mul(x, 3);
    double value = 0, grad = 0, grads[3];
    ag_stats first = {0};
    ag_mark mark = ag_tape_mark(t);
    for (int i = 0; i < 200; i++) {
        ag_var y = ag_add(mixture(x, v), older);
        ag_backward(y);
        ag_stats stats = ag_tape_stats(t);
        if (i == 0) {
            value = ag_value(y), grad = ag_grad(x), first = stats;
            ag_read_grad(v, grads);
        }
        check_number("value", ag_value(y), value);
        check_number("gradient", ag_grad(x), grad);
        check_grads("gradients", v, grads);
        assert_int_equal(stats.instruction_bytes, first.instruction_bytes);
        assert_int_equal(stats.slots, first.slots);
        if (i % 3 == 2) (void)ag_tape_mark(t); /* a mark inside goes with the rest */
        ag_tape_rewind(t, mark);
        assert_true(ag_is_inert(y));
        assert_false(ag_is_inert(x) || ag_is_inert(older) || ag_is_inert(v));
        check_number("adjoints of what stays are kept", ag_grad(x), grad);
    }
}

static void rewinding(void **unused) {
    (void)unused;
    on_each_tape(rewinding_on);
}

static void stale_vars(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    const double data[3] = {1, 2, 3};
    ag_var x = ag_input(t, 2), one = ag_num(1), out;
    ag_mark mark = ag_tape_mark(t);
    ag_var s = ag_mul(x, x), c = ag_constant(t, 4), v = ag_tensor(t, data, AG_SHAPE(3)), e = ag_at(v, 1);
    ag_var k = ag_constant_tensor(t, data, AG_SHAPE(3)), r = ag_transpose(ag_reshape(v, AG_SHAPE(1, 3)));
    ag_tape_rewind(t, mark);
    for (int again = 0; again < 2; again++) {
        const ag_var stale[] = {s, c, v, e, k, r};
        for (size_t i = 0; i < sizeof stale / sizeof *stale; i++) {
            ag_var w = stale[i];
            double numbers[3] = {-1, -1, -1};
            assert_true(ag_is_inert(w));
            assert_int_equal(ag_count(w), 0);
            assert_true(isnan(ag_value(w)) && isnan(ag_grad(w)));
            assert_null(ag_data(w));
            assert_null(ag_grad_data(w));
            ag_read(w, numbers);
            assert_int_equal(ag_tape_status(t), AG_OK);
            for (int use = 0; use < 12; use++) {
                switch (use) {
                case 0: out = ag_add(x, w); break;
                case 1: out = ag_mul(w, w); break;
                case 2: out = ag_sin(w); break;
                case 3: out = ag_add(2, w); break;
                case 4: out = ag_fma(x, x, w); break;
                case 5: out = ag_pow(x, w); break;
                case 6: out = ag_exp(ag_transpose(w)); break;
                case 7: out = ag_reshape(w, AG_SHAPE(-1)); break;
                case 8: ag_backward(w), out = ag_inert(t); break;
                case 9: ag_gradient(x, &w, 1, &out); break;
                case 10: ag_jvp(&x, 1, &x, &w, 1, &out); break;
                default: ag_set(w, data), out = ag_detach(w); break;
                }
                if (ag_tape_status(t) != AG_ERR_STALE)
                    fail_msg("stale var %d, use %d: %s", (int)i, use, ag_tape_message(t));
                assert_true(ag_is_inert(out));
                ag_tape_recover(t);
            }
        }
        /* again with the same slots in use by other vars */
        ag_var y = ag_mul(ag_mul(x, 3), x);
        for (int i = 0; i < 8; i++) y = ag_add(y, ag_sum(ag_mul(ag_tensor(t, data, AG_SHAPE(3)), x)));
        check_number("y", ag_value(y), 12 + 8 * 12);
    }
    ag_jvp(&x, 1, &x, &one, 1, &out);
    check_number("still works", ag_value(out), 1);
    ag_tape_free(t);
}

static void nested_marks(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = ag_input(t, 2), y[100];
    ag_mark mark[100];
    for (int i = 0; i < 100; i++) {
        mark[i] = ag_tape_mark(t);
        y[i] = i ? ag_add(y[i - 1], x) : ag_mul(x, 1);
    }
    ag_backward(y[99]);
    check_number("through all marks", ag_grad(x), 100);
    for (int i = 90; i >= 10; i -= 20) {
        ag_tape_rewind(t, mark[i]);
        assert_true(ag_is_inert(y[i]) && ag_is_inert(y[99]));
        assert_false(ag_is_inert(y[i - 1]) || ag_is_inert(y[0]));
        ag_backward(y[i - 1]);
        check_number("through the rest", ag_grad(x), i);
        ag_tape_rewind(t, mark[i]); /* to the same mark again */
        assert_int_equal(ag_tape_status(t), AG_OK);
    }
    ag_tape_rewind(t, mark[50]);
    assert_int_equal(ag_tape_status(t), AG_ERR_STALE);
    ag_tape_recover(t);
    ag_mark old = mark[5];
    ag_tape_clear(t);
    ag_tape_rewind(t, old);
    assert_int_equal(ag_tape_status(t), AG_ERR_STALE);
    ag_tape_recover(t);
    (void)ag_tape_mark(t);
    ag_tape_rewind(t, old);
    assert_int_equal(ag_tape_status(t), AG_ERR_STALE);
    ag_tape_free(t);
}

/* A mark is known by more than its place among the marks. */
static void marks_of_the_same_place(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = ag_input(t, 2);
    ag_mark outer = ag_tape_mark(t);
    (void)ag_mul(x, x);
    ag_mark inner = ag_tape_mark(t);
    ag_tape_rewind(t, outer);
    (void)ag_sin(x);
    ag_mark other = ag_tape_mark(t);
    ag_var y = ag_mul(x, 3);
    ag_tape_rewind(t, inner);
    assert_int_equal(ag_tape_status(t), AG_ERR_STALE);
    ag_tape_recover(t);
    assert_false(ag_is_inert(y));
    ag_tape_rewind(t, other);
    assert_true(ag_tape_status(t) == AG_OK && ag_is_inert(y));
    ag_tape_free(t);
}

/* What is recorded where something with an adjoint was has none of it. */
static void adjoints_after_rewinding_on(ag_tape *t) {
    const double data[3] = {1, 2, 3};
    ag_var x = ag_input(t, 2), one = ag_num(1);
    ag_mark mark = ag_tape_mark(t);
    for (int i = 0; i < 3; i++) {
        ag_var a = ag_input(t, 3), b = ag_mul(a, x), v = ag_tensor(t, data, AG_SHAPE(3)), w = ag_mul(v, b),
               e = ag_at(v, 2);
        ag_var y = ag_add(ag_sum(w), ag_mul(e, a));
        check_number("before a sweep", ag_grad(a), 0);
        check_number("before a sweep", ag_grad(b), 0);
        check_number("before a sweep", ag_grad(e), 0);
        check_grads("before a sweep", v, (double[]){0, 0, 0});
        check_grads("before a sweep", w, (double[]){0, 0, 0});
        ag_sweep(&y, &one, 1, i ? AG_ACCUMULATE : AG_RESET);
        check_number("x", ag_grad(x), 18 * (i + 1));
        check_number("a", ag_grad(a), 12 + 3);
        check_number("b", ag_grad(b), 6);
        check_grads("v", v, (double[]){6, 6, 9});
        ag_tape_rewind(t, mark);
    }
}

static void adjoints_after_rewinding(void **unused) {
    (void)unused;
    on_each_tape(adjoints_after_rewinding_on);
}

/* Constants after a mark are counted by no instruction before it. */
static void constants_around_marks(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = ag_input(t, 2), y = ag_mul(x, 3);
    for (int i = 0; i < 5; i++) {
        ag_mark mark = ag_tape_mark(t);
        ag_var c = ag_constant(t, 1), d = ag_input(t, 5);
        ag_var z = ag_add(ag_mul(y, d), c);
        ag_backward(z);
        check_number("x", ag_grad(x), 15);
        check_number("d", ag_grad(d), 6);
        ag_backward(y);
        check_number("x of y", ag_grad(x), 3);
        ag_tape_rewind(t, mark);
    }
    ag_var z = ag_mul(y, y);
    ag_backward(z);
    check_number("x of z", ag_grad(x), 36);
    ag_tape_free(t);
}

static void clearing_on(ag_tape *t) {
    const double data[3] = {1, 2, 3};
    ag_var old = ag_num(0);
    double value = 0;
    uint64_t held = 0;
    for (int i = 0; i < 20; i++) {
        ag_var x = ag_input(t, 0.5), v = ag_tensor(t, data, AG_SHAPE(3)), y = mixture(x, v);
        ag_backward(y);
        if (i == 0) value = ag_value(y);
        if (i == 1) held = ag_tape_stats(t).held_bytes;
        if (i == 3) ag_fail(t, AG_ERR_VALUE, "on purpose");
        if (i != 3) check_number("value", ag_value(y), value);
        if (i > 1) assert_int_equal(ag_tape_stats(t).held_bytes, held);
        ag_tape_clear(t);
        assert_int_equal(ag_tape_status(t), AG_OK);
        assert_true(ag_is_inert(x) && ag_is_inert(v) && ag_is_inert(y));
        if (i && i % 20) assert_true(ag_is_inert(old)); /* twenty clears bring a stamp back */
        old = y;
        assert_int_equal(ag_tape_stats(t).slots, 0);
        assert_int_equal(ag_tape_stats(t).scalar_instructions, 0);
    }
}

static void clearing(void **unused) {
    (void)unused;
    on_each_tape(clearing_on);
}

static void trimming_on(ag_tape *t) {
    for (int round = 0; round < 3; round++) {
        const double data[3] = {1, 2, 3};
        ag_var x = ag_input(t, 0.5), v = ag_tensor(t, data, AG_SHAPE(3));
        ag_mark mark = ag_tape_mark(t);
        for (int i = 0; i < 3000; i++) (void)mixture(x, v);
        ag_tape_rewind(t, mark);
        ag_tape_trim(t);
        assert_false(ag_is_inert(x) || ag_is_inert(v));
        check_read("kept", v, data);
        ag_var y = ag_mul(ag_sum(ag_mul(v, x)), ag_at(v, 2));
        ag_backward(y);
        check_grads("adjoints", v, (double[]){1.5, 1.5, 1.5 + 3});
        ag_tape_trim(t);
        check_grads("adjoints are kept", v, (double[]){1.5, 1.5, 1.5 + 3});
        check_number("value is kept", ag_value(y), 9);
        if (round == 1) ag_tape_clear(t);
        ag_tape_trim(t);
    }
}

static void trimming(void **unused) {
    (void)unused;
    on_each_tape(trimming_on);
}

static void statistics(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = ag_input(t, 1), v = ag_tensor(t, NULL, AG_SHAPE(100));
    for (int i = 0; i < 1000; i++) x = ag_mul(x, x);
    (void)ag_sum(ag_exp(v));
    ag_stats s = ag_tape_stats(t);
    assert_int_equal(s.scalar_instructions, 1000);
    assert_int_equal(s.tensor_instructions, 2);
    assert_in_range(s.slots, 1202, 1240);
    assert_int_equal(s.value_bytes, s.slots * 8);
    assert_int_equal(s.adjoint_bytes, 0);
    assert_in_range(s.instruction_bytes, 1002 * 16, 1002 * 16 + 400);
    assert_true(s.held_bytes >= s.value_bytes + s.instruction_bytes);
    ag_backward(x);
    assert_int_equal(ag_tape_stats(t).adjoint_bytes, s.slots * 8);
    ag_tape_free(t);
}

/* ---- long tapes ---- */

static void long_tapes(void **unused) {
    (void)unused;
    enum { N = 1000000 };
    for (int i = 0; i < 4; i++) {
        ag_tape *t = ag_tape_new_with(&(ag_options){.type = i % 2 ? AG_F32 : AG_F64, .no_reserve = i >= 2});
        ag_var x = ag_input(t, 1), y = ag_mul(x, 1), middle = y;
        for (int k = 1; k < N / (i ? 8 : 1); k++) {
            y = k % 2 ? ag_add(y, x) : ag_sub(y, 1);
            if (k == N / 20) middle = y;
        }
        ag_backward(y);
        check_number("end", ag_grad(x), 1 + (i ? N / 16 : N / 2));
        check_number("of the middle", ag_grad(middle), 1);
        ag_backward(middle); /* found from its slot */
        check_number("middle", ag_grad(x), 1 + N / 40);
        check_number("later", ag_grad(y), 0);
        ag_tape_free(t);
    }
}

/* An instruction counts at most 2^24 - 1 slots behind it; then a position starts a new count. To get there quickly, the
 * tape is told that so many constants were recorded. */
static void many_constants(void **unused) {
    (void)unused;
    for (int type = AG_F64; type <= AG_F32; type++) {
        ag_tape *t = ag_tape_new((ag_type)type);
        ag_var x = ag_input(t, 3), y = ag_mul(x, x);
        const uint32_t most = UINT32_MAX / ONE_CONSTANT, some = most - 10;
        assert_true(ag_make_room(t, "test", some, 1));
        t->head.next[-1].head += CONSTANTS_FOLLOW + some * ONE_CONSTANT;
        t->head.place += some;
        ag_set_limit(t);
        uint32_t instructions = ag_instruction_count(t);
        ag_var z = y;
        double sum = 9;
        for (int i = 0; i < 30; i++) (void)ag_constant(t, i);
        assert_int_equal(ag_instruction_count(t), instructions + 1);
        for (int i = 0; i < 30; i++) {
            z = ag_add(z, i);
            sum += i;
        }
        ag_var last = ag_input(t, 7);
        z = ag_mul(z, last);
        check_number("value", ag_value(z), sum * 7);
        ag_backward(z);
        check_number("x", ag_grad(x), 42);
        check_number("last", ag_grad(last), sum);
        ag_backward(y);
        check_number("x of y", ag_grad(x), 6);
        ag_var g;
        ag_gradient(z, &last, 1, &g);
        check_number("recorded", ag_value(g), sum);
        check_fine("many constants", t);
        ag_tape_free(t);
    }
}

/* The same on the inline path: the instruction is full between two operations with numbers. */
static void many_numbers(void **unused) {
    (void)unused;
    for (uint32_t left = 0; left < 8; left++) {
        ag_tape *t = ag_tape_new(AG_F64);
        ag_var x = ag_input(t, 3), y = ag_mul(x, x);
        const uint32_t some = UINT32_MAX / ONE_CONSTANT - left / 2;
        assert_true(ag_make_room(t, "test", some, 1));
        t->head.next[-1].head += CONSTANTS_FOLLOW + some * ONE_CONSTANT;
        t->head.place += some;
        ag_set_limit(t);
        if (left % 2) (void)ag_constant(t, 1);
        else check_number("with no room for constants", ag_value(ag_fma(2, x, 3)), 9);
        ag_var z = ag_add(ag_mul(y, 2), ag_mul(5, x));
        ag_var w = ag_add(ag_constant(t, 1), z);
        check_number("value", ag_value(w), 34);
        ag_backward(w);
        check_number("x", ag_grad(x), 17);
        ag_var u = ag_clip(ag_fma(w, 2, ag_fma(3, 5, x)), -1, 1000); /* numbers that become constants */
        check_number("value", ag_value(u), 68 + 18);
        ag_backward(u);
        check_number("x", ag_grad(x), 35);
        ag_tape_free(t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaves),
        cmocka_unit_test(only_leaves_can_be_set),
        cmocka_unit_test(pausing),
        cmocka_unit_test(detaching),
        cmocka_unit_test(rewinding),
        cmocka_unit_test(stale_vars),
        cmocka_unit_test(nested_marks),
        cmocka_unit_test(marks_of_the_same_place),
        cmocka_unit_test(adjoints_after_rewinding),
        cmocka_unit_test(constants_around_marks),
        cmocka_unit_test(clearing),
        cmocka_unit_test(trimming),
        cmocka_unit_test(statistics),
        cmocka_unit_test(long_tapes),
        cmocka_unit_test(many_constants),
        cmocka_unit_test(many_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
