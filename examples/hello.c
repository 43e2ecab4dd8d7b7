/* Hello: the value and the gradient of x y + sin x. */
#include <autograd/autograd.h>

#include <stdio.h>
#include <stdlib.h>

int main(void) {
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = ag_input(t, 2.0), y = ag_input(t, 3.0);
    ag_var z = ag_add(ag_mul(x, y), ag_sin(x));
    ag_backward(z);

    printf("z     = x y + sin x = %.6f\n", ag_value(z));
    printf("dz/dx = y + cos x   = %.6f\n", ag_grad(x));
    printf("dz/dy = x           = %.6f\n", ag_grad(y));

    bool fine = ag_tape_status(t) == AG_OK;
    if (!fine) fprintf(stderr, "hello: %s\n", ag_tape_message(t));
    ag_tape_free(t);
    return fine ? EXIT_SUCCESS : EXIT_FAILURE;
}
