/* Programs: a computation recorded once, transformed, and run a million times. Included by autograd.h.
 *
 *     static void f(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
 *         y[0] = ag_sum(ag_mul(ag_sin(x[0]), x[1]));
 *     }
 *     ag_port in[] = {ag_in("x", AG_SHAPE(100)), ag_in("w", AG_SHAPE(100))}, out[] = {ag_out("y")};
 *     ag_program *p = ag_program_trace(AG_F64, f, NULL, in, 2, out, 1);
 *     ag_program *g = ag_program_gradient(p, NULL, 0);     // outputs y, d_x, d_w
 *     ag_runner *r = ag_runner_new(g);
 *     ag_run(r, (const double *[]){x, w}, (double *[]){&y, dx, dw});
 *
 * A program is a list of operations with named inputs and outputs. It never changes, so threads may share it. Every
 * transformation takes a program and gives a new one, which can be transformed again; each of them simplifies: constants
 * are folded, an operation that was computed before is not computed again, what no output needs is left out, and
 * identities that hold exactly in floating point are used. When it runs, a product that nothing but one sum needs is
 * rounded with that sum (a fused multiply-add), but for differences of two products: these are rounded as on a tape.
 *
 * Errors stick, as on tapes: a function that cannot do its work returns a program whose ag_program_status is not AG_OK and
 * whose ag_program_message says why; what is made of such a program has the same error. Programs are never NULL, and are
 * freed by ag_program_free whatever their state. */
#ifndef AUTOGRAD_PROGRAM_H
#define AUTOGRAD_PROGRAM_H

#include <autograd/autograd.h> /* which includes this, wherever one begins */

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ag_program ag_program;

/* An input or output: what it is called and, for inputs, its shape. */
typedef struct ag_port {
    const char *name; /* NULL: x0, x1, ... or y0, y1, ...; inputs have different names, and outputs too */
    ag_shape shape;
    /* For inputs: values to record with, row-major, so that the function can branch on them. NULL: the input has no
     * value while it is recorded (NaN is read), only a shape. */
    const double *example;
} ag_port;
static inline ag_port ag_in(const char *name, ag_shape shape) {
    ag_port port;
    memset(&port, 0, sizeof port);
    port.name = name;
    port.shape = shape;
    return port;
}
static inline ag_port ag_out(const char *name) {
    ag_port port;
    memset(&port, 0, sizeof port);
    port.name = name;
    return port;
}

/* What is recorded: computes the outputs ys from the inputs xs on tape. */
typedef void (*ag_model)(ag_tape *tape, const ag_var *xs, ag_var *ys, void *context);

/* Records f. What f takes from elsewhere (constants, plain numbers) becomes part of the program. `outputs` may be NULL:
 * y0, y1, ... Two inputs, or two outputs, that are given one name are an error; a made name that is taken gets a number:
 * x1_2. */
AG_API ag_program *ag_program_trace(ag_type type, ag_model f, void *context, const ag_port *inputs, int n_inputs,
                                    const ag_port *outputs, int n_outputs);
/* The same for options->type, with options->permit asked for all memory: of the program, of what is derived from it, and of
 * what runs it. options->context has to live as long as they do. */
AG_API ag_program *ag_program_trace_with(const ag_options *options, ag_model f, void *context, const ag_port *inputs,
                                         int n_inputs, const ag_port *outputs, int n_outputs);
/* The part of a live tape that leads from xs to ys; names may be NULL. What is not computed from the xs keeps the value
 * that it has on the tape. All xs and ys are vars of one tape; xs are inputs or any other vars that are all of a scalar
 * or tensor, in its order. Memory is asked for as by the tape. Names are as for ag_program_trace. */
AG_API ag_program *ag_program_freeze(const ag_var *xs, const char *const *x_names, int nx, const ag_var *ys,
                                     const char *const *y_names, int ny);
/* Drops a reference; NULL is fine. */
AG_API void ag_program_free(ag_program *program);

AG_API ag_status ag_program_status(const ag_program *program);
AG_API const char *ag_program_message(const ag_program *program);
AG_API ag_type ag_program_type(const ag_program *program);
AG_API int ag_program_inputs(const ag_program *program);
AG_API int ag_program_outputs(const ag_program *program);
/* Name and shape; an empty port where there is no such input or output. The name lives as long as the program. */
AG_API ag_port ag_program_input(const ag_program *program, int k);
AG_API ag_port ag_program_output(const ag_program *program, int k);
/* Number of instructions: of all that are computed, inputs and constants not counted. */
AG_API int64_t ag_program_size(const ag_program *program);
/* A line for each instruction. */
AG_API void ag_program_list(const ag_program *program, FILE *out);
/* A drawing for Graphviz: inputs, instructions by their formulas, outputs. */
AG_API void ag_program_dot(const ag_program *program, FILE *out);

/* ---- transformations ----------------------------------------------------------------------------------------------
 *
 * `wrt` are numbers of inputs, n of them; with n = 0 all inputs are meant. Inputs and outputs that are those of p keep
 * their names; where the name of another is taken, it gets the first number that makes it differ: d_x_2, d_x_3.
 *   gradient  outputs: those of p, the first of which is a scalar y; then dy / d input for each of wrt ("d_" and its name)
 *   vjp       inputs: those of p, then a seed of each output's shape ("w_" and its name)
 *             outputs: those of p, then sum_j <seed j, d output j / d input> for each of wrt
 *   forward, back  the vjp in two programs, for a loop that goes one way and then back:
 *             forward  outputs: those of p, then what is kept for the way back ("kept", "kept_2" ...)
 *             back     inputs: those of p, then the seeds, then what was kept; outputs: the derivatives
 *             Kept is what the seeds meet; what is cheap to compute (sums, products ...) from inputs and other kept values is
 *             computed again.
 *   jvp       inputs: those of p, then a direction for each of wrt ("v_" and its name)
 *             outputs: those of p, then the derivative of each along the directions ("d_" and its name)
 *   hvp       inputs: those of p, then a direction for each of wrt; p's first output is a scalar y
 *             outputs: gradient of y, then its derivative along the directions, for each of wrt
 *   jacobian  outputs: those of p, then d output / d input, of shape output.shape + input.shape; by rows or by columns,
 *             whichever are fewer
 *   hessian   outputs: those of p, then d^2 y / d input^2 for the first output, a scalar y */
AG_API ag_program *ag_program_gradient(const ag_program *program, const int *wrt, int n);
AG_API ag_program *ag_program_vjp(const ag_program *program, const int *wrt, int n);
AG_API ag_program *ag_program_forward(const ag_program *program, const int *wrt, int n);
AG_API ag_program *ag_program_back(const ag_program *program, const int *wrt, int n);
AG_API ag_program *ag_program_jvp(const ag_program *program, const int *wrt, int n);
AG_API ag_program *ag_program_hvp(const ag_program *program, const int *wrt, int n);
AG_API ag_program *ag_program_jacobian(const ag_program *program, int output, int input);
AG_API ag_program *ag_program_hessian(const ag_program *program, int input);
/* The same inputs, and only those outputs that are named by number, in that order. */
AG_API ag_program *ag_program_select(const ag_program *program, const int *outputs, int n);

/* ---- sparse derivatives -------------------------------------------------------------------------------------------
 *
 * The pattern is found from the program: an entry is in it if, by the operations between them, an element of the output
 * depends on an element of the input (for Hessians: an element of the gradient). So it holds for all values of the inputs.
 * It is exact through elementwise operations, views, reductions, products and all else that has a scalar form, through
 * maps and scans (from row to row and step to step by the pattern of the program in them), and dense for what has no
 * scalar form (linear algebra). Directions are shared between columns or rows that do not meet, which
 * colouring finds: columns, rows, or both for Jacobians, a star colouring for Hessians (A. H. Gebremedhin, F. Manne,
 * A. Pothen, What color is your Jacobian?, SIAM Review 47 (2005) 629-705). */

/* A sparse matrix' pattern, with rows and columns row-major elements of the output and the input. Its nonzeros stand row
 * by row, by column within a row: COO is row and column, CSR is start and column. */
typedef struct ag_sparsity {
    ag_status status; /* if not AG_OK, the rest is empty */
    const char *message;
    int64_t rows, columns, nonzeros;
    const int32_t *row, *column; /* of each nonzero */
    const int32_t *start;        /* of each row its first nonzero; rows + 1 */
    /* How many derivatives along directions give the whole matrix: by forward mode (columns), by reverse mode (rows). And
     * the number of that of each column or row; -1: none. */
    int column_colours, row_colours;
    const int32_t *column_colour, *row_colour;
} ag_sparsity;

/* Never NULL; freed by ag_sparsity_free. */
AG_API ag_sparsity *ag_program_jacobian_sparsity(const ag_program *program, int output, int input);
AG_API ag_sparsity *ag_program_hessian_sparsity(const ag_program *program, int input);
AG_API void ag_sparsity_free(ag_sparsity *pattern); /* NULL is fine */

/* The transformations to it: outputs are those of p, then the nonzeros, in the order of the pattern, as a vector.
 * *pattern is set, unless `pattern` is NULL. The Hessian is that of the first output, a scalar, and has both triangles. */
AG_API ag_program *ag_program_sparse_jacobian(const ag_program *program, int output, int input, ag_sparsity **pattern);
AG_API ag_program *ag_program_sparse_hessian(const ag_program *program, int input, ag_sparsity **pattern);

/* Records the program's operations on a tape, an ordinary one or one that is being traced: ys[k] is output k. A program
 * in error puts the tape in error and has no outputs: nothing is written to ys. */
AG_API void ag_program_call(ag_tape *tape, const ag_program *program, const ag_var *xs, ag_var *ys);

/* The same as one operation, so that a program which is used in many places is there once. Its derivatives are such
 * operations again: the intermediate results of the program are not kept for them but computed again. */
AG_API void ag_program_apply(ag_tape *tape, const ag_program *program, const ag_var *xs, ag_var *ys);

/* An input or output of a program that is run for many rows. */
typedef enum ag_along {
    AG_EACH,  /* rows, one after the other */
    AG_SHARED /* one for all rows: an input that they all read, an output that is the sum over them */
} ag_along;

/* Records the program for each of `rows` rows as one operation: an input that is AG_EACH has shape (rows, its shape), an
 * output likewise. NULL for in or out: all are AG_EACH. Derivatives of it are maps again, of the program's derivatives. */
AG_API void ag_map(ag_tape *tape, const ag_program *program, int64_t rows, const ag_var *xs, const ag_along *in,
                   const ag_along *out, ag_var *ys);
/* The program that does this: inputs and outputs as for ag_map. */
AG_API ag_program *ag_program_batch(const ag_program *program, int64_t rows, const ag_along *in, const ag_along *out);

/* Whether a condition, a scalar, is not 0: for branches on values. While a program is traced with an example for every
 * input, this also records a guard: to run the program where the condition is otherwise is an error (AG_ERR_GUARD), not a
 * wrong number. All that is made of the program keeps its guards. On an ordinary tape it is just the bool. The name, for
 * messages, may be NULL.
 *     if (ag_guard(ag_lt(x, 0), "x < 0")) ... */
AG_API bool ag_guard(ag_var condition, const char *name);

/* How a scan goes. */
typedef struct ag_scan_options {
    bool backward; /* from the last step to the first */
    /* How many states may be kept for a derivative in reverse; 0: all of them, one for each step. With fewer, steps are
     * computed again from the states that are kept, once for each level of them: n steps need about 2 sqrt(n) states for
     * one level, k n^(1/k) for k - 1 levels, and at the least about 2 log2(n). */
    int64_t states;
} ag_scan_options;

/* Records the program for `steps` steps, one after the other, as one operation. Its first `carries` inputs are the state
 * before a step, its first outputs, of the same shapes, the state after it. xs are the first state, then the other inputs:
 * one that is AG_EACH has shape (steps, its shape), one that is AG_SHARED is the same for all steps (in NULL: all are
 * AG_EACH; in[k] does not matter for the state). ys are the last state, then the other outputs, each of shape
 * (steps, its shape). Derivatives of it are scans again, of the program's derivatives. options may be NULL. */
AG_API void ag_scan(ag_tape *tape, const ag_program *step, int64_t steps, int carries, const ag_var *xs,
                    const ag_along *in, const ag_scan_options *options, ag_var *ys);

/* When an iteration has converged, and how long it may take. Zeros stand for the defaults. */
typedef struct ag_root_options {
    double tolerance; /* the greatest change of an element in a step, relative to max(1, |x|); 1e-12, of f32 1e-5 */
    int steps;        /* 100 by Newton's method, 10000 of a fixed point; more, and an x that is
                         NaN or stays infinite, are an error (AG_ERR_CONVERGENCE) */
} ag_root_options;

/* x with f(x, theta, ...) = 0, by Newton's method with the program's Jacobian, from xs[0] on; a step is halved while it
 * makes |f| larger. f's first output is f(x), of as many elements as its first input x; xs are that and the thetas.
 * The derivatives, of any order, are those of the implicit function: dx = -(df/dx)^-1 (df/dtheta) dtheta; where the
 * iteration began does not matter to them. options may be NULL. */
AG_API ag_var ag_root(ag_tape *tape, const ag_program *f, const ag_var *xs, const ag_root_options *options);
/* x = g(x, theta, ...), by iterating g from xs[0] on; derivatives likewise, of f = g - x. */
AG_API ag_var ag_fixed_point(ag_tape *tape, const ag_program *g, const ag_var *xs, const ag_root_options *options);

/* ---- running ------------------------------------------------------------------------------------------------------ */

/* What a thread needs to run a program: planned once, then no call allocates memory (where several threads take rows, each
 * of them plans when it gets its first ones). It keeps the program alive. Arithmetic on single numbers becomes instructions of
 * the processor, in memory that can be executed but not written any more, where that is an x86-64 with FMA and the system
 * allows it; that on rows of elements where it has AVX-512. Where the system does not, the same is interpreted, with the same
 * results; AG_ISA=base in the environment interprets, too, without instructions that round products with sums once. */
typedef struct ag_runner ag_runner;
AG_API ag_runner *ag_runner_new(const ag_program *program); /* never NULL */
AG_API void ag_runner_free(ag_runner *runner);
/* Runs once. xs[k] and ys[k] are row-major; nothing overlaps an output, and an output that is NULL is not written. The
 * status of the run; after an error (a singular matrix, a guard that does not hold) the outputs are not valid, and the
 * next run starts afresh. */
AG_API ag_status ag_run(ag_runner *runner, const double *const *xs, double *const *ys);
AG_API ag_status ag_run_f32(ag_runner *runner, const float *const *xs, float *const *ys);
AG_API const char *ag_runner_message(const ag_runner *runner);

/* The data of an input or output of many runs, one for each row. */
typedef struct ag_column {
    void *data; /* of the program's type; inputs are not written; an output may be NULL */
    ag_along along;
    const int64_t *index; /* AG_EACH, or NULL: row i is row index[i] of data; an output is added there */
} ag_column;
static inline ag_column ag_column_of_(const void *data, ag_along along, const int64_t *index) {
    ag_column column;
    column.data = (void *)(uintptr_t)data;
    column.along = along;
    column.index = index;
    return column;
}
static inline ag_column ag_each(const void *data) { return ag_column_of_(data, AG_EACH, NULL); }
static inline ag_column ag_shared(const void *data) { return ag_column_of_(data, AG_SHARED, NULL); }
static inline ag_column ag_indexed(const void *data, const int64_t *index) {
    return ag_column_of_(data, AG_EACH, index);
}

/* Runs the program once for each of `rows` rows. A small program is taken apart into scalar operations and run for many
 * rows at a time, in the lanes of vector registers; one that is large, or has an operation without a scalar form, is run
 * row by row. Sums are made in an order that depends on nothing but `rows`. */
AG_API ag_status ag_run_rows(ag_runner *runner, int64_t rows, const ag_column *xs, const ag_column *ys);

/* ---- C source ------------------------------------------------------------------------------------------------------ */

typedef struct ag_c_options {
    bool blas; /* large products of matrices by cblas_dgemm and cblas_sgemm: include <cblas.h>, link a BLAS */
    bool rows; /* a second function, NAME_rows, that is the first for each of many rows */
} ag_c_options;

typedef struct ag_printed {
    ag_status status;
    int64_t work;  /* numbers that the function's work array has, its last argument; 0: it has no such argument */
    char name[64]; /* what it is called: `name`, or like it where that is no identifier that is free in C */
    int checks;    /* guards, roots, linear systems ... in it; if there are any, the function returns an int */
    char message[640];
} ag_printed;

/* Prints a program as a function `name` of C11 that needs only <math.h>: void name(inputs, outputs). Inputs of rank 0 are
 * numbers, other inputs and all outputs are arrays, row-major; they are called as in the program, where that is an
 * identifier and free, and a comment says what they are, with the program's name where it is another (of it, what is neither
 * ASCII nor a Latin, Greek or Cyrillic letter as _). Numbers read back to the same bits (of NaN only the sign).
 * Arithmetic is the machine's, as far as the compiler's is: the results agree to the last few bits. Linear algebra is
 * by loops of its own. A program with guards, roots, fixed points, linear systems, inverses, logarithms of determinants,
 * Cholesky factors, or indices or labels that it computes, is a function that returns an int: 0, or the number of what
 * failed (a singular matrix, say), by the comment's list; its NAME_rows returns a long, 0 or 1 + the row where one did.
 * Nothing else is checked when the function runs. Nothing is printed after an error. */
AG_API ag_printed ag_program_print_c(const ag_program *program, const char *name, const ag_c_options *options,
                                     FILE *out);

typedef struct ag_compile_options {
    const char *compiler;     /* NULL: the environment's CC, or cc */
    const char *const *flags; /* ended by NULL. NULL: -O3 -march=native, products fused into sums, no errno */
    const char *cache;        /* a folder. NULL: autograd in XDG_CACHE_HOME or ~/.cache */
} ag_compile_options;

/* A program as machine code: printed, compiled by the system's C compiler, kept in a cache and loaded. Never NULL. Where
 * that fails, its status and message say why (AG_ERR_UNSUPPORTED: no compiler, or it failed; AG_ERR_FILE: the cache cannot
 * be written), and it is run by a runner instead. For one thread at a time. Tensors of at
 * most 16 elements are taken apart into numbers. */
typedef struct ag_compiled ag_compiled;
AG_API ag_compiled *ag_program_compile(const ag_program *program, const ag_compile_options *options);
AG_API void ag_compiled_free(ag_compiled *compiled);
AG_API ag_status ag_compiled_status(const ag_compiled *compiled);
AG_API const char *ag_compiled_message(const ag_compiled *compiled);
/* As ag_run, ag_run_f32 and ag_run_rows: the same errors, after which the message says what the last run's was. */
AG_API ag_status ag_compiled_run(ag_compiled *compiled, const double *const *xs, double *const *ys);
AG_API ag_status ag_compiled_run_f32(ag_compiled *compiled, const float *const *xs, float *const *ys);
AG_API ag_status ag_compiled_run_rows(ag_compiled *compiled, int64_t rows, const ag_column *xs, const ag_column *ys);

/* ---- files ------------------------------------------------------------------------------------------------------------ */

/* Writes a program in the format that `program/save.c` describes: little-endian, the same on every machine. A program with
 * operations of the user's own is read with a table of them. */
AG_API ag_status ag_program_save(const ag_program *program, FILE *out);
/* Reads what ag_program_save wrote. Every byte is checked: a file that is damaged, or meant to do harm, gives a program in
 * error. Of inputs, or outputs, that are called alike in the file, all but the first get a number: x_2. `own` are the n
 * operations of the user's own that it may use, found by name; they must have `valid` if they have parameters. */
AG_API ag_program *ag_program_load(FILE *in, const ag_operation *const *own, int n);
/* The same with options->permit asked for all memory, of the program and of what runs it: a small file may ask for large
 * tensors. options->context has to live as long as they do. NULL permits all. */
AG_API ag_program *ag_program_load_with(const ag_options *options, FILE *in, const ag_operation *const *own, int n);
AG_API ag_program *ag_program_load_bytes(const void *bytes, size_t size, const ag_operation *const *own, int n);

#ifdef __cplusplus
}
#endif
#endif
