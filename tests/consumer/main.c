/* A program outside the project that uses an installed autograd and nn. */
#include <autograd/autograd.h>
#include <nn/nn.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

int main(void) {
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = ag_input(t, 2.0), y = ag_input(t, 3.0);
    ag_var z = ag_add(ag_mul(x, y), ag_sin(x));
    ag_backward(z);
    double error = fabs(ag_grad(x) - (3 + cos(2.0))) + fabs(ag_grad(y) - 2);

    ag_var a = ag_tensor(t, (const double[]){2, 1, 1, 3}, AG_SHAPE(2, 2)); /* BLAS and LAPACK */
    ag_var d = ag_add(ag_det(a), ag_trace(ag_matmul(a, a)));               /* det a + tr a^2 */
    ag_backward(d);
    double da[4];
    ag_read_grad(a, da);
    error += fabs(ag_value(d) - 20) + fabs(da[0] - 7) + fabs(da[1] - 1) + fabs(da[2] - 1) + fabs(da[3] - 8);

    nn_error e = {0}; /* zlib, threads */
    nn_array x3 = nn_array_new(NN_F32, AG_SHAPE(3), &e);
    nn_dataset set = nn_dataset_of(&x3, 1, &e);
    nn_loader *loader = nn_loader_new(&set, &(nn_loader_options){.batch = 3}, &e);
    nn_batch batch;
    bool fed = nn_loader_next(loader, &batch, &e) && batch.count == 3;
    nn_loader_free(loader);
    nn_array_free(&x3);
    (void)nn_npz_read("/nowhere", &e);

    bool ok = fed && e.status == AG_ERR_FILE && ag_tape_status(t) == AG_OK && error < 1e-12 &&
              strcmp(AG_VERSION, EXPECTED_VERSION) == 0 && nn_closed_form_find("softmax") != NULL;
    printf("autograd " AG_VERSION " (package " EXPECTED_VERSION "): %s, error %g\n", ok ? "right" : "wrong", error);
    ag_tape_free(t);
    return !ok;
}
