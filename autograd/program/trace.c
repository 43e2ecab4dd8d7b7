/* Recording a function as a program. */
#include "program_impl.h"

#include <math.h>

static ag_var trace_input(ag_tape *t, const ag_port *port) {
    if (port->shape.rank && !port->example) return ag_input_without_values(t, port->shape);
    if (port->shape.rank) return ag_tensor(t, port->example, port->shape);
    return ag_input(t, port->example ? *port->example : (double)NAN);
}

static ag_program *trace_on(ag_tape *t, ag_model f, void *context, const ag_port *inputs, int nx,
                            const ag_port *outputs, int ny, bool derived) {
    size_t n = (size_t)nx + (size_t)ny;
    ag_var *v = ag_scratch(t, n * (sizeof *v + sizeof(char *)) + 1);
    if (!v) return ag_freeze_as(t, "trace", NULL, NULL, 0, NULL, NULL, 0, derived);
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
        if (!ag_tape_of(v[nx + k])) v[nx + k] = ag_constant(t, v[nx + k].value);
    ag_program *p = ag_freeze_as(t, "trace", v, names, nx, v + nx, outputs ? names + nx : NULL, ny, derived);
    ag_scratch_free(t, v);
    return p;
}

static ag_program *trace(const ag_options *options, ag_model f, void *context, const ag_port *inputs, int nx,
                         const ag_port *outputs, int ny, bool derived) {
    ag_options o = options ? *options : (ag_options){0};
    const ag_program like = {.type = o.type, .memory = {o.permit, o.context, true, 0}};
    if (nx < 0 || ny < 0) return ag_program_failed(&like, AG_ERR_VALUE, "trace: %d inputs, %d outputs", nx, ny);
    if (!f || (nx && !inputs))
        return ag_program_failed(&like, AG_ERR_VALUE, "trace: %s is NULL", f ? "the array of inputs" : "the function");
    ag_tape *t = ag_tape_new_with(&o);
    if (t->status != AG_OK) {
        ag_program *p = ag_program_failed(&like, t->status, "trace: %s", t->message);
        ag_tape_free(t);
        return p;
    }
    t->tracing = true;
    for (int k = 0; k < nx; k++) t->abstract |= !inputs[k].example;
    if (t->abstract) ag_range_set_sparse(&t->values, 0, true);
    ag_program *p = trace_on(t, f, context, inputs, nx, outputs, ny, derived);
    ag_tape_free(t);
    return p;
}

ag_program *ag_program_trace_with(const ag_options *options, ag_model f, void *context, const ag_port *inputs, int nx,
                                  const ag_port *outputs, int ny) {
    return trace(options, f, context, inputs, nx, outputs, ny, false);
}

ag_program *ag_program_trace(ag_type type, ag_model f, void *context, const ag_port *inputs, int nx,
                             const ag_port *outputs, int ny) {
    return ag_program_trace_with(&(ag_options){.type = type}, f, context, inputs, nx, outputs, ny);
}

ag_program *ag_trace_like(const ag_program *p, ag_model f, void *context, const ag_port *inputs, int nx,
                          const ag_port *outputs, int ny) {
    ag_options o = {.type = p->type, .permit = p->memory.permit, .context = p->memory.context};
    return trace(&o, f, context, inputs, nx, outputs, ny, true);
}
