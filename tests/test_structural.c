/* Concatenation and what is built like it, triangles, gather and scatter, one-hot rows: values against naive loops for
 * views of all kinds, derivatives, errors. */
#include "layouts.h"

/* ---- concatenation ---- */

/* Parts of `lengths` along an axis of s, in a layout, and what their concatenation should be. */
static void check_concat(ag_type type, layout l, ag_shape s, int axis, const int64_t *lengths, int n) {
    ag_tape *t = ag_tape_new(type);
    ag_var parts[8];
    ag_shape whole = s;
    int at = axis < 0 ? axis + s.rank : axis;
    whole.dim[at] = 0;
    for (int k = 0; k < n; k++) whole.dim[at] += lengths[k];
    double *want = new_numbers(shape_count(whole));
    int64_t start = 0, index[AG_MAX_RANK];
    for (int k = 0; k < n; k++) {
        s.dim[at] = lengths[k];
        parts[k] = layout_view(l, random_tensor(t, layout_leaf_shape(l, s), -1, 1), s);
        double *values = values_of(parts[k]);
        for (int64_t i = 0; i < shape_count(s); i++) {
            position_to_index(i, s, index);
            index[at] += start;
            want[index_to_position(index, whole)] = values[i];
        }
        free(values);
        start += lengths[k];
    }
    check_values("concat", ag_concat(parts, n, axis), whole, want, 0);
    free(want);
    ag_tape_free(t);
}

static void concat_values(void **state) {
    (void)state;
    const ag_shape shapes[] = {AG_SHAPE(3), AG_SHAPE(2, 3), AG_SHAPE(4, 2, 3), AG_SHAPE(2, 1, 2, 1, 2, 1, 2, 3)};
    const int64_t lengths[][3] = {{2, 3, 4}, {1, 1, 1}, {5, 1, 2}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        for (int axis = -shapes[i].rank; axis < shapes[i].rank; axis++) {
            for (layout l = 0; l < EXPANDED_FIRST; l++) {
                for (int k = 0; k < 3; k++)
                    check_concat(l % 2 ? AG_F32 : AG_F64, l, shapes[i], axis, lengths[k], 1 + k);
            }
        }
    }
    check_concat(AG_F64, ROW_MAJOR, AG_SHAPE(0, 2), 0, (const int64_t[]){0, 3, 0}, 3);
}

static void stack_values(void **state) {
    (void)state;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = ag_tensor(t, (const double[]){1, 2, 3}, AG_SHAPE(3)), y = ag_flip(x, 0), pair[] = {x, y};
    check_values("stack 0", ag_stack(pair, 2, 0), AG_SHAPE(2, 3), (const double[]){1, 2, 3, 3, 2, 1}, 0);
    check_values("stack 1", ag_stack(pair, 2, 1), AG_SHAPE(3, 2), (const double[]){1, 3, 2, 2, 3, 1}, 0);
    check_values("stack -1", ag_stack(pair, 2, -1), AG_SHAPE(3, 2), (const double[]){1, 3, 2, 2, 3, 1}, 0);
    check_values("stack -2", ag_stack(pair, 2, -2), AG_SHAPE(2, 3), (const double[]){1, 2, 3, 3, 2, 1}, 0);
    ag_var mixed[] = {ag_num(7), ag_at(x, 1), ag_input(t, 5), ag_constant(t, 4)};
    check_values("stack of numbers", ag_stack(mixed, 4, 0), AG_SHAPE(4), (const double[]){7, 2, 5, 4}, 0);
    enum { MANY = 3000 };
    static ag_var many[MANY];
    double *want = new_numbers(MANY);
    for (int i = 0; i < MANY; i++) many[i] = ag_mul(ag_at(x, i % 3), i), want[i] = (i % 3 + 1) * i;
    ag_var all = ag_stack(many, MANY, 0), g;
    check_values("stack of many", all, AG_SHAPE(MANY), want, 0);
    ag_gradient(ag_sum(all), &x, 1, &g);
    ag_backward(ag_sum(all));
    double swept[3], sums[3] = {0};
    for (int i = 0; i < MANY; i++) sums[i % 3] += i;
    ag_read_grad(x, swept);
    check_numbers("stack of many", "swept", swept, sums, 3, 0);
    check_values("stack of many, gradient", g, AG_SHAPE(3), sums, 0);
    free(want);
    ag_tape_free(t);
}

static void pad_tile_and_triangles(void **state) {
    (void)state;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = ag_tensor(t, (const double[]){1, 2, 3, 4, 5, 6}, AG_SHAPE(2, 3)), y = ag_transpose(x);
    check_values("pad", ag_pad(x, 1, 1, 2), AG_SHAPE(2, 6), (const double[]){0, 1, 2, 3, 0, 0, 0, 4, 5, 6, 0, 0}, 0);
    check_values("pad", ag_pad(x, -2, 1, 0), AG_SHAPE(3, 3), (const double[]){0, 0, 0, 1, 2, 3, 4, 5, 6}, 0);
    check_values("pad", ag_pad(y, 0, 0, 0), AG_SHAPE(3, 2), (const double[]){1, 4, 2, 5, 3, 6}, 0);
    check_values("tile", ag_tile(x, 0, 2), AG_SHAPE(4, 3), (const double[]){1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6}, 0);
    check_values("tile", ag_tile(y, -1, 2), AG_SHAPE(3, 4), (const double[]){1, 4, 1, 4, 2, 5, 2, 5, 3, 6, 3, 6}, 0);
    check_values("tile", ag_tile(x, 1, 1), AG_SHAPE(2, 3), (const double[]){1, 2, 3, 4, 5, 6}, 0);
    check_values("tile", ag_tile(x, 1, 0), AG_SHAPE(2, 0), NULL, 0);
    ag_var deep = ag_reshape(x, AG_SHAPE(1, 1, 2, 1, 1, 3, 1, 1));
    check_values("tile of 8 axes", ag_tile(deep, 4, 2), AG_SHAPE(1, 1, 2, 1, 2, 3, 1, 1),
                 (const double[]){1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6}, 0);
    check_values("tril", ag_tril(x, 0), AG_SHAPE(2, 3), (const double[]){1, 0, 0, 4, 5, 0}, 0);
    check_values("tril", ag_tril(x, 1), AG_SHAPE(2, 3), (const double[]){1, 2, 0, 4, 5, 6}, 0);
    check_values("tril", ag_tril(y, -1), AG_SHAPE(3, 2), (const double[]){0, 0, 2, 0, 3, 6}, 0);
    check_values("triu", ag_triu(x, 0), AG_SHAPE(2, 3), (const double[]){1, 2, 3, 0, 5, 6}, 0);
    check_values("triu", ag_triu(y, -1), AG_SHAPE(3, 2), (const double[]){1, 4, 2, 5, 0, 6}, 0);
    check_values("triu", ag_triu(x, INT64_MAX), AG_SHAPE(2, 3), (const double[]){0, 0, 0, 0, 0, 0}, 0);
    check_values("tril", ag_tril(x, INT64_MIN), AG_SHAPE(2, 3), (const double[]){0, 0, 0, 0, 0, 0}, 0);
    check_values("tril", ag_tril(x, INT64_MAX), AG_SHAPE(2, 3), (const double[]){1, 2, 3, 4, 5, 6}, 0);
    ag_var batch = ag_tensor(t, (const double[]){NAN, INFINITY, 3, 4, 5, 6, 7, 8}, AG_SHAPE(2, 2, 2));
    check_values("triu of a batch", ag_triu(batch, 1), AG_SHAPE(2, 2, 2),
                 (const double[]){0, INFINITY, 0, 0, 0, 6, 0, 0}, 0);
    ag_tape_free(t);
}

/* Overlapping placements add up; so do the views of their adjoints. */
static ag_var overlapping(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n, (void)context;
    ag_var windows[3];
    for (int i = 0; i < 3; i++) windows[i] = ag_slice(x[0], 0, i, i + 3, 1);
    ag_var stacked = ag_stack(windows, 3, 0); /* a Hankel matrix */
    return ag_mul(ag_contiguous(ag_transpose(stacked)), ag_expand(ag_slice(x[0], 0, -1, AG_END, -2), AG_SHAPE(3, 3)));
}

static void contiguous_copies(void **state) {
    (void)state;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = counting_tensor(t, AG_SHAPE(3, 4));
    assert_ptr_equal(ag_data(ag_contiguous(x)), ag_data(x));
    for (layout l = 0; l < LAYOUTS; l++) {
        ag_shape s = AG_SHAPE(2, 3, 4);
        ag_var view = layout_view(l, random_tensor(t, layout_leaf_shape(l, s), -1, 1), s), copy = ag_contiguous(view);
        double *values = values_of(view);
        check_values("contiguous", copy, s, values, 0);
        assert_non_null(ag_data(copy));
        free(values);
    }
    ag_tape_free(t);
}

/* ---- gather and scatter ---- */

static const int64_t picks[] = {2, 0, 2, 1, 2};

static void gather_values(void **state) {
    (void)state;
    for (int type = 0; type < 2; type++) {
        for (layout l = 0; l < LAYOUTS; l++) {
            for (int axis = 0; axis < 3; axis++) {
                ag_tape *t = ag_tape_new(type ? AG_F32 : AG_F64);
                ag_shape s = AG_SHAPE(3, 4, 3), to = s, back = s;
                ag_var x = layout_view(l, random_tensor(t, layout_leaf_shape(l, s), -1, 1), s);
                to.dim[axis] = 5;
                back.dim[axis] = 7;
                double *values = values_of(x), *gathered = new_numbers(shape_count(to)),
                       *scattered = new_numbers(84 + 1);
                int64_t index[AG_MAX_RANK], places[] = {6, 0, 6, 3};
                for (int64_t i = 0; i < shape_count(to); i++) {
                    position_to_index(i, to, index);
                    index[axis] = picks[index[axis]];
                    gathered[i] = values[index_to_position(index, s)];
                }
                for (int64_t i = 0; i < shape_count(s); i++) {
                    position_to_index(i, s, index);
                    index[axis] = places[index[axis]];
                    scattered[index_to_position(index, back)] += values[i];
                }
                check_values("gather", ag_gather(x, axis - 3, picks, 5), to, gathered, 0);
                check_values("scatter_add", ag_scatter_add(x, axis, places, 7), back, scattered, type ? 1e-6 : 0);
                free(values), free(gathered), free(scattered);
                ag_tape_free(t);
            }
        }
    }
}

static void gather_of_many_and_none(void **state) {
    (void)state;
    enum { MANY = 1000 };
    int64_t indices[MANY];
    double *want = new_numbers(2 * MANY), swept[10], counts[10] = {0};
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = counting_tensor(t, AG_SHAPE(5, 2));
    for (int i = 0; i < MANY; i++) {
        indices[i] = i * i % 5;
        for (int j = 0; j < 2; j++) want[2 * i + j] = (double)(2 * indices[i] + j), counts[2 * indices[i] + j]++;
    }
    ag_var y = ag_gather(x, 0, indices, MANY);
    check_values("gather", y, AG_SHAPE(MANY, 2), want, 0);
    ag_backward(ag_sum(y));
    ag_read_grad(x, swept);
    check_numbers("gather", "swept", swept, counts, 10, 0);
    check_values("gather of none", ag_gather(x, 1, NULL, 0), AG_SHAPE(5, 0), NULL, 0);
    check_values("scatter of none", ag_scatter_add(ag_gather(x, 0, NULL, 0), 0, NULL, 2), AG_SHAPE(2, 2),
                 (const double[]){0, 0, 0, 0}, 0);
    check_values("one_hot", ag_one_hot(t, (const int64_t[]){1, 0, 2}, 3, 3), AG_SHAPE(3, 3),
                 (const double[]){0, 1, 0, 1, 0, 0, 0, 0, 1}, 0);
    assert_true(ag_is_constant(ag_one_hot(t, (const int64_t[]){1, 0, 2}, 3, 3)));
    check_values("one_hot", ag_one_hot(t, NULL, 0, 3), AG_SHAPE(0, 3), NULL, 0);
    free(want);
    ag_tape_free(t);
}

/* ---- derivatives ---- */

static ag_var concat_function(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n;
    int axis = *(const int *)context;
    ag_var a = ag_sin(x[0]), b = ag_transpose(x[1]), c = ag_constant_tensor(t, NULL, AG_SHAPE(2, 2));
    return ag_square(ag_concat((ag_var[]){a, b, c, a}, 4, axis));
}

static ag_var stack_function(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n;
    ag_var parts[] = {ag_flip(x[0], 1), ag_mul(x[0], ag_index(x[1], 0, 1)), x[1], ag_exp(x[0])};
    return ag_mul(ag_stack(parts, 4, *(const int *)context), ag_at(x[0], 2));
}

static ag_var stack_of_scalars(ag_tape *t, const ag_var *x, int n, void *context) {
    ag_var parts[20];
    (void)t, (void)n, (void)context;
    for (int i = 0; i < 20; i++) parts[i] = i % 5 ? ag_mul(ag_at(x[0], i % 4), ag_at(x[1], i % 3)) : ag_num(i);
    return ag_square(ag_stack(parts, 20, 0));
}

static ag_var pad_function(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n, (void)context;
    ag_var padded = ag_pad(ag_exp(x[0]), 1, 1, 2), tiled = ag_tile(ag_transpose(x[1]), 0, 2);
    return ag_add(ag_sum(ag_square(padded)),
                  ag_sum(ag_mul(ag_slice(padded, 1, 0, 2, 1), ag_slice(ag_sin(tiled), 0, 0, 2, 1))));
}

static ag_var triangle_function(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n;
    int64_t k = *(const int *)context;
    return ag_mul(ag_exp(ag_tril(x[0], k)), ag_triu(ag_transpose(x[1]), -k));
}

static ag_var gather_function(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n;
    int axis = *(const int *)context;
    static const int64_t indices[] = {1, 0, 1};
    return ag_square(ag_gather(ag_transpose(ag_sin(x[0])), axis, indices, 3));
}

static ag_var scatter_function(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n;
    int axis = *(const int *)context;
    static const int64_t indices[] = {1, 1};
    return ag_exp(ag_scatter_add(ag_mul(x[0], ag_transpose(x[1])), axis, indices, 3));
}

static void derivatives_agree(void **state) {
    (void)state;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x[] = {random_tensor(t, AG_SHAPE(2, 2), -1, 1), random_tensor(t, AG_SHAPE(2, 2), -1, 1)};
    for (int axis = 0; axis < 2; axis++) {
        check_derivatives("concat", concat_function, &axis, x, 2);
        check_derivatives("stack", stack_function, &axis, x, 2);
        check_derivatives("gather", gather_function, &axis, x, 2);
        check_derivatives("scatter_add", scatter_function, &axis, x, 2);
        check_derivatives("tril and triu", triangle_function, &axis, x, 2);
    }
    int last = 2;
    check_derivatives("stack", stack_function, &last, x, 2);
    check_derivatives("stack of scalars", stack_of_scalars, NULL, x, 2);
    check_derivatives("pad and tile", pad_function, NULL, x, 2);
    ag_var line = random_tensor(t, AG_SHAPE(5), -1, 1);
    check_derivatives("overlapping windows", overlapping, NULL, &line, 1);
    ag_tape_free(t);
}

/* ---- errors ---- */

static void errors_of_assembly(void **state) {
    (void)state;
    ag_tape *t = ag_tape_new(AG_F64), *other = ag_tape_new(AG_F64);
    ag_var x = counting_tensor(t, AG_SHAPE(2, 5)), y = counting_tensor(t, AG_SHAPE(3, 4)), s = ag_input(t, 1);
    ag_var deep = ag_reshape(s, AG_SHAPE(1, 1, 1, 1, 1, 1, 1, 1));
    check_failure(t, ag_concat((ag_var[]){x, x, y}, 3, 0), AG_ERR_SHAPE,
                  "concat: operand 2 has shape (3, 4), which does not fit (2, 5) outside axis 0");
    check_failure(t, ag_concat((ag_var[]){x, ag_num(1)}, 2, 1), AG_ERR_SHAPE,
                  "concat: operand 1 has shape (), which does not fit (2, 5) outside axis 1");
    check_failure(t, ag_concat((ag_var[]){x}, 1, 2), AG_ERR_SHAPE,
                  "concat: axis 2 of a tensor of shape (2, 5), which has 2 axes");
    check_failure(t, ag_concat((ag_var[]){s, s}, 2, 0), AG_ERR_SHAPE,
                  "concat: axis 0 of a tensor of shape (), which has 0 axes");
    check_failure(t, ag_stack((ag_var[]){x, y}, 2, 0), AG_ERR_SHAPE,
                  "stack: operand 1 has shape (3, 4), operand 0 has (2, 5)");
    check_failure(t, ag_stack((ag_var[]){x}, 1, 3), AG_ERR_VALUE,
                  "stack: a new axis 3 for operands of shape (2, 5) is outside -3..2");
    check_failure(t, ag_stack((ag_var[]){deep}, 1, 0), AG_ERR_SHAPE,
                  "stack: operands of shape (1, 1, 1, 1, 1, 1, 1, 1) would make a result of more than 8 axes");
    check_failure(t, ag_pad(x, 0, -1, 3), AG_ERR_VALUE, "pad: -1 and 3 more along axis 0 of shape (2, 5)");
    check_failure(t, ag_pad(x, 1, INT64_MAX, 3), AG_ERR_VALUE,
                  "pad: 9223372036854775807 and 3 more along axis 1 of shape (2, 5)");
    check_failure(t, ag_pad(x, 1, INT64_MAX - 9, 3), AG_ERR_SLOTS,
                  "pad: a result of shape (2, 9223372036854775806) has too many elements");
    check_failure(t, ag_tile(x, 1, -2), AG_ERR_VALUE, "tile: -2 times along axis 1 of shape (2, 5)");
    check_failure(t, ag_tile(x, 1, INT64_MAX / 2), AG_ERR_SLOTS,
                  "tile: 4611686018427387903 times along axis 1 of shape (2, 5) is too long");
    check_failure(t, ag_tril(s, 0), AG_ERR_SHAPE, "tril: shape () is not a matrix");
    check_failure(t, ag_triu(ag_index(x, 0, 0), 0), AG_ERR_SHAPE, "triu: shape (5) is not a matrix");
    ag_var foreign = counting_tensor(other, AG_SHAPE(2, 5));
    assert_true(ag_is_inert(ag_concat((ag_var[]){x, foreign}, 2, 0)));
    assert_int_equal(ag_tape_status(t), AG_ERR_TAPE);
    assert_true(ag_is_inert(ag_stack((ag_var[]){ag_num(1), ag_num(2)}, 2, 0))); /* no tape to be on */
    assert_true(ag_is_inert(ag_concat(NULL, 0, 0)) && ag_is_inert(ag_pad(x, 0, 1, 1)) && ag_is_inert(ag_tile(x, 0, 2)));
    ag_tape_free(t);
    ag_tape_free(other);
}

static void errors_of_indices(void **state) {
    (void)state;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = counting_tensor(t, AG_SHAPE(2, 5));
    check_failure(t, ag_gather(x, 1, (const int64_t[]){4, 5}, 2), AG_ERR_VALUE,
                  "gather: index 5 at position 1 is outside axis 1, of length 5");
    check_failure(t, ag_gather(x, 0, (const int64_t[]){-1, 0}, 2), AG_ERR_VALUE,
                  "gather: index -1 at position 0 is outside axis 0, of length 2");
    check_failure(t, ag_gather(x, 0, NULL, 2), AG_ERR_VALUE, "gather: 2 indices at NULL into length 2");
    check_failure(t, ag_gather(x, 2, picks, 2), AG_ERR_SHAPE,
                  "gather: axis 2 of a tensor of shape (2, 5), which has 2 axes");
    check_failure(t, ag_scatter_add(x, 0, (const int64_t[]){4, 0}, 4), AG_ERR_VALUE,
                  "scatter_add: index 4 at position 0 is outside axis 0, of length 4");
    check_failure(t, ag_scatter_add(x, 0, picks, -1), AG_ERR_VALUE,
                  "scatter_add: 2 indices at an address into length -1");
    check_failure(t, ag_one_hot(t, (const int64_t[]){0, 3}, 2, 3), AG_ERR_VALUE,
                  "one_hot: label 3 of row 1 is not one of 3 classes (0..2)");
    check_failure(t, ag_one_hot(t, NULL, 2, 3), AG_ERR_VALUE, "one_hot: 2 labels of 3 classes at NULL");
    check_failure(t, ag_scatter_add(x, 0, picks, INT64_MAX / 2), AG_ERR_SLOTS,
                  "scatter_add: a result of shape (4611686018427387903, 5) has too many elements");
    ag_tape_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(concat_values),     cmocka_unit_test(stack_values),
        cmocka_unit_test(contiguous_copies), cmocka_unit_test(pad_tile_and_triangles),
        cmocka_unit_test(gather_values),     cmocka_unit_test(gather_of_many_and_none),
        cmocka_unit_test(derivatives_agree), cmocka_unit_test(errors_of_assembly),
        cmocka_unit_test(errors_of_indices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
