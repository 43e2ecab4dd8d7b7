/* LSTMs over steps: against the same steps from ordinary operations, values and adjoints, of sizes that end inside vectors and
 * blocks of rows; derivatives by every route; edges, errors, threads. */
#include "any_threads.h"
#include "operation_suite.h"

enum { PARTS = 5 };

typedef struct lstm_case {
    int64_t steps, batch, hidden;
    bool biased, backward;
} lstm_case;

static ag_var fused(const lstm_case *c, const ag_var *x) {
    return ag_lstm(x[0], x[1], x[2], x[3], c->biased ? x[4] : ag_num(0), c->backward);
}

static ag_var composed(const lstm_case *c, const ag_var *x) {
    ag_var states[64], h = x[2], cell = x[3];
    for (int64_t i = 0; i < c->steps; i++) {
        int64_t at = c->backward ? c->steps - 1 - i : i;
        ag_var sum = ag_add(ag_index(x[0], 0, at), ag_matmul(h, ag_transpose(x[1]))), gate[4];
        if (c->biased) sum = ag_add(sum, x[4]);
        for (int k = 0; k < 4; k++) gate[k] = ag_slice(sum, 1, k * c->hidden, (k + 1) * c->hidden, 1);
        ag_var kept = ag_mul(ag_sigmoid(gate[1]), cell);
        states[c->steps + at] = cell = ag_fma(ag_sigmoid(gate[0]), ag_tanh(gate[2]), kept);
        states[at] = h = ag_mul(ag_sigmoid(gate[3]), ag_tanh(cell));
    }
    return ag_reshape(ag_stack(states, 2 * (int)c->steps, 0), AG_SHAPE(2, c->steps, c->batch, c->hidden));
}

static void operands(ag_tape *t, const lstm_case *c, ag_var *x) {
    double size = 1 / sqrt((double)c->hidden);
    x[0] = random_tensor(t, AG_SHAPE(c->steps, c->batch, 4 * c->hidden), -2, 2);
    x[1] = random_tensor(t, AG_SHAPE(4 * c->hidden, c->hidden), -size, size);
    x[2] = random_tensor(t, AG_SHAPE(c->batch, c->hidden), -1, 1);
    x[3] = random_tensor(t, AG_SHAPE(c->batch, c->hidden), -1, 1);
    x[4] = random_tensor(t, AG_SHAPE(4 * c->hidden), -1, 1);
}

static void check_case(ag_type type, const lstm_case *c) {
    char label[96];
    snprintf(label, sizeof label, "%d steps, %d rows of %d, bias %d, backward %d, f%d", (int)c->steps, (int)c->batch,
             (int)c->hidden, c->biased, c->backward, type == AG_F64 ? 64 : 32);
    ag_tape *t = ag_tape_new(type);
    ag_var x[PARTS], seed = random_tensor(t, AG_SHAPE(2, c->steps, c->batch, c->hidden), -1, 1);
    operands(t, c, x);
    check_alike(label, fused(c, x), composed(c, x), seed, x, c->biased ? 5 : 4, type == AG_F64 ? 4e-12 : 8e-5);
    check_fine(label, t);
    ag_tape_free(t);
}

static void values(void **unused) {
    (void)unused;
    static const int64_t sizes[][3] = {{1, 1, 1},  {1, 3, 4},   {3, 2, 5},   {4, 1, 16}, {2, 8, 17},
                                       {5, 9, 33}, {3, 17, 48}, {2, 16, 64}, {2, 5, 130}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int kind = 0; kind < 4; kind++)
            for (int type = 0; type < 2; type++) {
                lstm_case c = {sizes[i][0], sizes[i][1], sizes[i][2], kind & 1, kind & 2};
                check_case(type ? AG_F32 : AG_F64, &c);
            }
}

/* ---- derivatives ---- */

static ag_var of_case(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t;
    lstm_case c = *(const lstm_case *)context;
    c.biased = n > 4;
    return fused(&c, x);
}

/* Operands that are views, that have to do with each other, and of which some have no derivative. */
static ag_var of_itself(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)n, (void)context;
    ag_var state = ag_index(x[0], 0, 1), weight = ag_transpose(x[1]);
    ag_var gates = ag_mul(ag_expand(ag_unsqueeze(weight, 1), AG_SHAPE(2, 2, 8)), 0.5);
    ag_var y = ag_lstm(gates, ag_transpose(weight), state, ag_flip(ag_index(x[0], 0, 0), 1), ag_num(0), false);
    return ag_add(y, ag_lstm(ag_zeros(t, AG_SHAPE(2, 2, 8)), x[1], state, ag_ones(t, AG_SHAPE(2, 2)),
                             ag_index(weight, 0, 1), true));
}

static void derivatives(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    lstm_case c = {2, 2, 2, true, false};
    ag_var x[PARTS];
    operands(t, &c, x);
    check_operation("lstm", of_case, &c, x, 5);
    c.backward = true;
    check_operation("lstm, backward", of_case, &c, x, 4);
    ag_var y[] = {random_tensor(t, AG_SHAPE(2, 2, 2), -1, 1), random_tensor(t, AG_SHAPE(8, 3), -1, 1)};
    y[1] = ag_slice(y[1], 1, 0, 2, 1);
    check_derivatives("lstm of itself", of_itself, NULL, y, 2);
    ag_tape_free(t);
}

/* Adjoints of the adjoint, swept as numbers, are what is recorded for them. */
static void second_order(void **unused) {
    (void)unused;
    for (int type = 0; type < 2; type++) {
        ag_tape *t = ag_tape_new(type ? AG_F32 : AG_F64);
        lstm_case c = {3, 2, 3, true, false};
        ag_var x[PARTS], of[PARTS], g[PARTS], h[PARTS];
        operands(t, &c, x);
        ag_var way[] = {fused(&c, x), composed(&c, x)};
        double numbers[2][PARTS][128];
        for (int k = 0; k < 2; k++) {
            ag_gradient(ag_sum(ag_square(way[k])), x, PARTS, g);
            ag_var sum = ag_num(0);
            for (int i = 0; i < PARTS; i++) sum = ag_add(sum, ag_sum(ag_sin(ag_mul(g[i], 1.0 + i))));
            ag_backward(sum);
            for (int i = 0; i < PARTS; i++) ag_read_grad(x[i], numbers[k][i]);
            if (k > 0) break;
            ag_pause(t); /* as constants */
            ag_gradient(sum, x, PARTS, h);
            ag_resume(t);
            for (int i = 0; i < PARTS; i++) {
                of[i] = h[i];
                check_values("recorded", of[i], ag_shape_of(x[i]), numbers[0][i], type ? 1e-4 : 1e-11);
            }
        }
        for (int i = 0; i < PARTS; i++)
            check_numbers("second order", "adjoint", numbers[0][i], numbers[1][i], ag_count(x[i]), type ? 1e-3 : 1e-10);
        check_fine("second order", t);
        ag_tape_free(t);
    }
}

/* ---- edges ---- */

static void edges(void **unused) {
    (void)unused;
    for (int type = 0; type < 2; type++) {
        ag_tape *t = ag_tape_new(type ? AG_F32 : AG_F64);
        ag_var one = ag_ones(t, AG_SHAPE(1, 1)), w = ag_zeros(t, AG_SHAPE(4, 1));
        ag_var full = ag_tensor(t, (double[]){HUGE_VAL, -HUGE_VAL, HUGE_VAL, HUGE_VAL}, AG_SHAPE(1, 1, 4));
        ag_var c = ag_input(t, 3), cell = ag_expand(c, AG_SHAPE(1, 1));
        ag_var y = ag_lstm(full, w, one, cell, ag_num(0), false);
        check_values("saturated", y, AG_SHAPE(2, 1, 1, 1), (double[]){tanh(1), 1}, 1e-7);
        ag_backward(ag_sum(y));
        assert_true(ag_grad(c) == 0);
        double g[4];
        ag_read_grad(full, g);
        for (int k = 0; k < 4; k++) assert_true(g[k] == 0);
        ag_var nan = ag_tensor(t, (double[]){NAN, 0, 0, 0, 0, 0, 0, 0}, AG_SHAPE(1, 2, 4));
        ag_var twice = ag_zeros(t, AG_SHAPE(2, 1));
        double out[4];
        ag_read(ag_lstm(nan, w, twice, twice, ag_num(0), false), out);
        assert_true(isnan(out[0]) && out[1] == 0 && isnan(out[2]) && out[3] == 0);
        /* a cell without end behind a shut gate is NaN in the value, but nothing where no adjoint arrives */
        ag_var endless = ag_full(t, HUGE_VAL, AG_SHAPE(1, 1)), shut = ag_tensor(t, NULL, AG_SHAPE(1, 1, 4));
        y = ag_lstm(shut, w, one, endless, ag_num(0), false);
        ag_backward(ag_mul(0.0, ag_at(y, 0)));
        ag_read_grad(shut, g);
        for (int k = 0; k < 4; k++) assert_true(g[k] == 0);
        const ag_shape none[][2] = {{AG_SHAPE(0, 2, 4), AG_SHAPE(2, 1)}, {AG_SHAPE(3, 0, 4), AG_SHAPE(0, 1)}};
        for (int k = 0; k < 2; k++) {
            ag_var state = ag_tensor(t, NULL, none[k][1]);
            y = ag_lstm(ag_zeros(t, none[k][0]), w, state, state, ag_num(0), k);
            check_values("none", y, AG_SHAPE(2, none[k][0].dim[0], none[k][0].dim[1], 1), NULL, 0);
            ag_backward(ag_sum(y));
            ag_gradient(ag_sum(y), &state, 1, &y);
        }
        y = ag_lstm(ag_zeros(t, AG_SHAPE(2, 3, 0)), ag_zeros(t, AG_SHAPE(0, 0)), ag_zeros(t, AG_SHAPE(3, 0)),
                    ag_zeros(t, AG_SHAPE(3, 0)), ag_zeros(t, AG_SHAPE(0)), false);
        check_values("nothing hidden", y, AG_SHAPE(2, 2, 3, 0), NULL, 0);
        check_fine("edges", t);
        ag_tape_free(t);
    }
}

static void errors(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var gates = ag_zeros(t, AG_SHAPE(2, 3, 8)), weight = ag_zeros(t, AG_SHAPE(8, 2)),
           state = ag_zeros(t, AG_SHAPE(3, 2)), bias = ag_zeros(t, AG_SHAPE(8)), other = ag_zeros(t, AG_SHAPE(2, 3));
    check_failure(t, ag_lstm(weight, weight, state, state, bias, false), AG_ERR_SHAPE,
                  "lstm: gates of shape (8, 2) and a state of shape (3, 2), not 3 and 2 axes");
    check_failure(t, ag_lstm(gates, weight, gates, state, bias, false), AG_ERR_SHAPE,
                  "lstm: gates of shape (2, 3, 8) and a state of shape (2, 3, 8), not 3 and 2 axes");
    check_failure(t, ag_lstm(gates, weight, other, state, bias, false), AG_ERR_SHAPE,
                  "lstm: gates of shape (2, 3, 8), not (2, 3, 12)");
    check_failure(t, ag_lstm(gates, other, state, state, bias, false), AG_ERR_SHAPE,
                  "lstm: weights of shape (2, 3), not (8, 2)");
    check_failure(t, ag_lstm(gates, weight, state, other, bias, false), AG_ERR_SHAPE,
                  "lstm: a state c of shape (2, 3), not (3, 2)");
    check_failure(t, ag_lstm(gates, weight, state, state, other, false), AG_ERR_SHAPE,
                  "lstm: a bias of shape (2, 3), not (8)");
    check_failure(t, ag_lstm(gates, weight, ag_num(1), state, bias, false), AG_ERR_SHAPE,
                  "lstm: gates of shape (2, 3, 8) and a state of shape (), not 3 and 2 axes");
    assert_true(ag_is_inert(ag_lstm(ag_num(0), ag_num(0), ag_num(0), ag_num(0), ag_num(0), false)));
    ag_tape_free(t);
}

/* ---- threads ---- */

static void print_bits(void) {
    uint64_t hash = 0;
    for (int type = 0; type < 2; type++) {
        ag_tape *t = ag_tape_new(type ? AG_F32 : AG_F64);
        lstm_case c = {5, 43, 67, true, type == 1};
        ag_var x[PARTS];
        operands(t, &c, x);
        ag_var y = fused(&c, x);
        size_t size = type ? sizeof(float) : sizeof(double);
        hash = hash_bytes(hash, ag_data(y), (size_t)ag_count(y) * size);
        ag_backward(ag_sum(ag_square(y)));
        for (int k = 0; k < PARTS; k++)
            if (k != 1) hash = hash_bytes(hash, ag_grad_data(x[k]), (size_t)ag_count(x[k]) * size);
        check_fine("threads", t);
        ag_tape_free(t);
    }
    print_hash(hash);
}

static void same_for_any_threads(void **unused) {
    (void)unused;
    same_for_threads(3);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "bits") == 0) {
        print_bits();
        return 0;
    }
    snprintf(program_path, sizeof program_path, "%s", argv[0]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values), cmocka_unit_test(derivatives), cmocka_unit_test(second_order),
        cmocka_unit_test(edges),  cmocka_unit_test(errors),      cmocka_unit_test(same_for_any_threads),
    };
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}
