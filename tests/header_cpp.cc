/* The public headers from C++: scalars, tensors, and the overloads that stand for _Generic. */
#include <autograd/program.h>
#include <nn/nn.h>

#include <cmath>
#include <cstdio>

static int failures = 0;

static void expect(const char *what, double got, double right) {
    if (std::fabs(got - right) <= 1e-14 * std::fmax(1.0, std::fabs(right))) return;
    std::printf("%s: got %.17g, right is %.17g\n", what, got, right);
    failures++;
}

static void scalars() {
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = ag_input(t, 2.0), y = ag_input(t, 3.0);
    ag_var z = ag_add(ag_mul(x, y), ag_sin(x));
    ag_backward(z);
    expect("z", ag_value(z), 6 + std::sin(2.0));
    expect("dz/dx", ag_grad(x), 3 + std::cos(2.0));
    expect("dz/dy", ag_grad(y), 2);

    /* numbers of any C type beside vars */
    ag_var u = ag_fma(x, 2, ag_sub(1.0f, ag_pow(x, 3L)));
    ag_backward(u);
    expect("u", ag_value(u), -3);
    expect("du/dx", ag_grad(x), -10);
    expect("status", ag_tape_status(t), AG_OK);
    ag_tape_free(t);
}

static void tensors() {
    const double a_data[] = {1, 2, 3, 4, 5, 6}, b_data[] = {1, -1, 2};
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var a = ag_tensor(t, a_data, AG_SHAPE(2, 3)), b = ag_tensor(t, b_data, AG_SHAPE(3));
    ag_var columns = ag_sum_over(ag_mul(a, 2), AG_AXES(0), false);
    ag_var y = ag_add(ag_sum(ag_square(ag_matmul(a, b))), ag_vdot(columns, b));
    ag_backward(y);
    expect("y", ag_value(y), 25 + 121 + 10 - 14 + 36);

    /* dy/da = 2 (a b) b' + 2 b', dy/db = 2 a' (a b) + columns */
    double da[6], db[3];
    ag_read_grad(a, da);
    ag_read_grad(b, db);
    const double right_da[] = {12, -12, 24, 24, -24, 48}, right_db[] = {108, 144, 180};
    for (int i = 0; i < 6; i++) expect("dy/da", da[i], right_da[i]);
    for (int i = 0; i < 3; i++) expect("dy/db", db[i], right_db[i]);
    expect("status", ag_tape_status(t), AG_OK);
    ag_tape_free(t);
}

static void models() {
    ag_tape *t = ag_tape_new(AG_F64);
    nn_model *model = nn_model_new(t, 1);
    nn_dense_options options = nn_dense_options();
    options.initial = NN_ONES;
    nn_dense line = nn_dense_init(model, "line", 1, 1, options);
    const double x[] = {1, 2}, y[] = {3, 5};
    ag_backward(nn_mse(nn_dense_apply(line, ag_constant_tensor(t, x, AG_SHAPE(2, 1))),
                       ag_constant_tensor(t, y, AG_SHAPE(2, 1))));
    nn_sgd_step(model, 0.1); /* residuals are -2 and -3: gradients -8 and -5 */
    expect("weight", ag_value(line.weight), 1.8);
    expect("bias", ag_value(line.bias), 0.5);
    nn_adam_options adam_options = nn_adam_options();
    adam_options.rate = 0.5;
    adam_options.epsilon = NN_ZERO;
    nn_optimiser *adam = nn_adam(model, adam_options);
    nn_optimiser_schedule(adam, nn_with_warm_up(nn_cosine_schedule(0.5, 0, 10), 2));
    nn_optimiser_step(adam); /* the first goes by the rate, half of which the warm-up gives */
    expect("weight", ag_value(line.weight), 2.05);
    nn_optimiser_free(adam);
    expect("status", ag_tape_status(t), AG_OK);
    nn_model_free(model);
    ag_tape_free(t);
}

static void data() {
    nn_error e = {};
    double numbers[] = {1, 2, 3, 4};
    nn_array a = {NN_F64, {2, {2, 2}}, numbers};
    nn_dataset set = nn_dataset_of(&a, 1, &e);
    nn_loader_options options = {};
    options.batch = 2;
    nn_loader *loader = nn_loader_new(&set, &options, &e);
    nn_batch batch;
    expect("batch", nn_loader_next(loader, &batch, &e), 1);
    expect("number", nn_array_at(&batch.fields[0], 3), 4);
    expect("status", e.status, AG_OK);
    nn_loader_free(loader);
}

int main() {
    scalars();
    tensors();
    models();
    data();
    return failures != 0;
}
