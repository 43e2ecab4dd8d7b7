/* Recording a function as a program. */
#include "program_impl.h"

#include <math.h>

/* A program in error; `p` NULL: there was no memory for it. */
static ag_program *failed(ag_type type, ag_status status, const char *message) {
    ag_program *p = ag_program_new(type, &(ag_memory){0});
    ag_program_fail(p, status, "%s", message);
    return p;
}

static ag_var trace_input(ag_tape *t, const ag_port *port) {
    if (port->shape.rank) return ag_tensor(t, port->example, port->shape);
    return ag_input(t, port->example ? *port->example : (double)NAN);
}

static ag_program *trace_on(ag_tape *t, ag_model f, void *context, const ag_port *inputs, int nx,
                            const ag_port *outputs, int ny) {
    size_t n = (size_t)nx + (size_t)ny;
    ag_var *v = ag_scratch(t, n * (sizeof *v + sizeof(char *)) + 1);
    if (!v) return failed(t->type, ag_tape_status(t), ag_tape_message(t));
    const char **names = (const char **)(void *)(v + n);
    for (int k = 0; k < nx; k++) {
        v[k] = trace_input(t, &inputs[k]);
        names[k] = inputs[k].name;
    }
    for (int k = 0; k < ny; k++) {
        v[nx + k] = ag_num(0);
        names[nx + k] = outputs ? outputs[k].name : NULL;
    }
    if (t->status == AG_OK) f(t, v, v + nx, context);
    for (int k = 0; k < ny; k++)
        if (!v[nx + k].tape) v[nx + k] = ag_constant(t, ag_num_value_(v[nx + k]));
    ag_program *p = ag_freeze_as("trace", v, names, nx, v + nx, names + nx, ny);
    ag_scratch_free(t, v);
    return p;
}

ag_program *ag_program_trace(ag_type type, ag_model f, void *context, const ag_port *inputs, int nx,
                             const ag_port *outputs, int ny) {
    if (nx < 0 || ny < 0) return failed(type, AG_ERR_VALUE, "trace: the number of inputs or outputs is negative");
    ag_tape *t = ag_tape_new(type);
    if (t->status != AG_OK) return failed(type, t->status, t->message);
    t->tracing = true;
    for (int k = 0; k < nx; k++) t->abstract |= !inputs[k].example;
    ag_program *p = trace_on(t, f, context, inputs, nx, outputs, ny);
    ag_tape_free(t);
    return p;
}
