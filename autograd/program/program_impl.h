/* A program: instructions in the order of computation, one value each.
 *
 * The number of a value is that of its instruction. An operand is a value seen through a view: a shape with strides and
 * an offset, or one element. So an element of a tensor is a scalar operand, and transposing, slicing and broadcasting are
 * no instructions, as on tapes.
 *
 * A scalar instruction of two operands takes 32 bytes: programs of a hundred million operations are meant to fit. */
#ifndef AG_PROGRAM_IMPL_H
#define AG_PROGRAM_IMPL_H

#include "../tape/tape_impl.h"

#include <pthread.h>
#include <stdatomic.h>

/* Instructions beside those of the table of elementwise operations. */
enum {
    CODE_INPUT = AG_OPCODES, /* extra: its number */
    CODE_CONSTANT,           /* extra: where its elements are in `constants` */
    CODE_CALL,               /* an ag_operation; extra: its ag_pcall */
    CODE_COUNT
};

/* Where an operand looks in its value: one element, or a view. */
#define WHERE_ELEMENT 0x80000000u
#define MOST_ELEMENTS ((int64_t)WHERE_ELEMENT)

typedef struct ag_ref {
    uint32_t value;
    uint32_t where; /* WHERE_ELEMENT | its offset, or the number of an ag_pview */
} ag_ref;

typedef struct ag_pview {
    ag_view view; /* strides; lo and hi count from the offset */
    int64_t offset;
} ag_pview;

typedef struct ag_code {
    uint32_t op;
    uint32_t view; /* shape of the value: WHERE_ELEMENT for a scalar, or an ag_pview, contiguous from 0 */
    uint32_t in;   /* its first operand in `refs` */
    uint32_t extra;
} ag_code;

typedef struct ag_pcall {
    const ag_operation *operation;
    uint32_t n;
    uint32_t params_size;
    uint64_t params; /* offset in `params` */
    uint64_t saved_size;
} ag_pcall;

typedef struct ag_pport {
    uint32_t name; /* offset in `names` */
    ag_ref ref;    /* of an input: its value, whole */
} ag_pport;

typedef struct ag_view_entry ag_view_entry;
typedef struct ag_derived ag_derived;

/* An array that grows; `count` elements are in use. */
typedef struct ag_list {
    ag_range range;
    uint64_t count;
} ag_list;

struct ag_program {
    ag_memory memory;
    atomic_int references;
    ag_type type;
    ag_status status;
    ag_list codes, refs, calls, params, constants, views, inputs, outputs, names;
    ag_view_entry *interned;
    bool has_guards; /* of its own, or in programs that it runs */
    /* What operations that run this program keep at hand, behind the lock: planned runners, its VJP by all inputs, and
     * other programs made of it. */
    pthread_mutex_t lock;
    ag_runner *idle;
    ag_program *vjp;
    ag_derived *derived;
    char message[640];
};

/* ---- program.c ---- */
ag_program *ag_program_new(ag_type type, const ag_memory *memory);
ag_program *ag_program_keep(const ag_program *p); /* another reference */
/* A program in error, of the type and the memory of p, which may be NULL. */
ag_program *ag_program_failed(const ag_program *p, ag_status status, const char *format, ...) AG_FORMAT_(3, 4);
void ag_program_fail(ag_program *p, ag_status status, const char *format, ...) AG_FORMAT_(3, 4);
/* Room for n more elements of a list; NULL and an error if there is none. They are counted at once. */
void *ag_list_add(ag_program *p, ag_list *list, size_t size, uint64_t n);
/* The number of a view; WHERE_ELEMENT after an error. */
uint32_t ag_program_view(ag_program *p, int rank, const int64_t *dim, const int64_t *stride, int64_t offset);
uint32_t ag_program_shape(ag_program *p, ag_shape shape); /* WHERE_ELEMENT, or the row-major view at offset 0 */
bool ag_program_add_port(ag_program *p, ag_list *ports, const char *name, const char *letter, ag_ref ref);

#define AG_LIST_(type, name, list)                                                                                     \
    static inline type *ag_##name(const ag_program *p, uint64_t i) { return (type *)(void *)p->list.range.base + i; }
AG_LIST_(ag_code, code_at, codes)
AG_LIST_(ag_ref, ref_at, refs)
AG_LIST_(ag_pcall, pcall_at, calls)
AG_LIST_(char, pparams_at, params)
AG_LIST_(double, pconstant_at, constants)
AG_LIST_(ag_pport, pinput_at, inputs)
AG_LIST_(ag_pport, poutput_at, outputs)
AG_LIST_(char, name_at, names)
#undef AG_LIST_
static inline const ag_pview *ag_pview_at(const ag_program *p, uint32_t i) {
    return ((const ag_pview *const *)(void *)p->views.range.base)[i];
}
static inline int64_t ag_where_count(const ag_program *p, uint32_t where) {
    return where & WHERE_ELEMENT ? 1 : ag_pview_at(p, where)->view.count;
}
static inline int64_t ag_where_offset(const ag_program *p, uint32_t where) {
    return where & WHERE_ELEMENT ? (int64_t)(where & ~WHERE_ELEMENT) : ag_pview_at(p, where)->offset;
}
static inline ag_shape ag_where_shape(const ag_program *p, uint32_t where) {
    return where & WHERE_ELEMENT ? (ag_shape){.rank = 0} : ag_view_shape(&ag_pview_at(p, where)->view);
}
static inline uint32_t ag_operand_count(const ag_program *p, const ag_code *c) {
    if (c->op < AG_OPCODES) return (uint32_t)ag_op_table[c->op].arity;
    return c->op == CODE_CALL ? ag_pcall_at(p, c->extra)->n : 0;
}
static inline int64_t ag_value_count(const ag_program *p, uint32_t value) {
    return ag_where_count(p, ag_code_at(p, value)->view);
}

/* ---- build.c ---- */

/* A program while it is built. Nothing that is emitted is emitted twice. */
typedef struct ag_builder {
    ag_program *p;
    uint32_t *table; /* open addressing: values by their hash; UINT32_MAX is free */
    uint64_t size, used;
} ag_builder;

bool ag_builder_open(ag_builder *b, ag_type type, const ag_memory *memory);
/* The finished program without what no output needs; the builder is closed. */
ag_program *ag_builder_close(ag_builder *b);
ag_ref ag_emit_input(ag_builder *b, const char *name, ag_shape shape);
/* Elements of the program's type, row-major. Equal ones are kept once. */
ag_ref ag_emit_constant(ag_builder *b, ag_shape shape, const void *data);
ag_ref ag_emit_number(ag_builder *b, double number, ag_shape shape);
/* An elementwise operation whose operands broadcast to shape. */
ag_ref ag_emit(ag_builder *b, uint32_t op, const ag_ref *in, ag_shape shape);
/* Whether an operation on whole values of one shape is there already, and where. */
bool ag_is_emitted(const ag_builder *b, uint32_t op, const ag_ref *in, ag_ref *out);
ag_ref ag_emit_call(ag_builder *b, const ag_pcall *call, const void *params, const ag_ref *in, ag_shape shape);
/* Whether all elements that a ref sees are one. */
bool ag_ref_is_uniform(const ag_program *p, ag_ref r);
/* Whether it sees a row-major block of its value. */
bool ag_ref_is_block(const ag_program *p, ag_ref r);
/* The constant that a ref sees, if it is one and the same number everywhere. */
bool ag_ref_number(const ag_program *p, ag_ref r, double *number);

/* ---- simplify.c ---- */
/* A ref that equals the operation exactly, for every input; false if there is none. */
bool ag_simplify(ag_builder *b, uint32_t op, ag_ref *in, ag_shape shape, ag_ref *out);

/* ---- pool.c ---- */
/* A runner that nobody else uses, planned once and given back. One in error if there is no memory. */
ag_runner *ag_program_borrow(const ag_program *p);
void ag_program_give_back(const ag_program *p, ag_runner *r);
/* sum_j <seed j, d output j / d input> for each input; inputs: p's, then the seeds. Made once; a new reference. */
ag_program *ag_program_adjoints(const ag_program *p);
/* The program that `make` makes of p and `key`, whose bytes tell what it is; made once. A reference for the caller. */
typedef ag_program *ag_deriver(const ag_program *p, const void *key);
ag_program *ag_program_derived(const ag_program *p, const void *key, size_t key_size, ag_deriver *make);
void ag_program_close_pool(ag_program *p);

/* ---- call.c ---- */

/* A program's operations, recorded on a tape one by one. */
typedef struct ag_replay {
    ag_tape *t;
    const ag_program *p;
    ag_var *value; /* of each instruction; constants that are scalars stay plain numbers */
} ag_replay;
ag_var ag_replay_operand(const ag_replay *r, ag_ref x);
ag_var ag_replay_code(const ag_replay *r, uint32_t i, const ag_var *xs);

/* ---- map.c ---- */
/* The program that a map runs for each of `rows` rows, and the ag_along of its inputs and then outputs; NULL if the
 * operation is no map. */
const ag_program *ag_mapped_program(const ag_operation *operation, const void *params, int64_t *rows,
                                    const uint8_t **along);

/* ---- parts.c: what operations that run programs share ---- */
/* The shape of an input or output: of one row, or of all. False if it has too many dims or elements. */
bool ag_rows_shape(ag_port port, int64_t rows, ag_along along, ag_shape *shape);
int64_t ag_rows_count(ag_port port, int64_t rows, ag_along along); /* its elements */
bool ag_equal_shapes(ag_shape a, ag_shape b);
/* Whether operand k has this shape; if not, the tape is in error. */
bool ag_takes_shape(const ag_call *call, const char *what, int k, const char *name, ag_shape shape);
/* The results of all outputs lie one after the other in one flat tensor: the part at *at, which moves on. */
ag_var ag_next_part(ag_var flat, int64_t *at, ag_shape shape);
/* Whether p can be recorded on t; if not, t is in error. */
bool ag_program_fits(ag_tape *t, const ag_program *p, const char *what);
/* Whether there are arrays of its inputs and outputs; else an error. */
bool ag_program_given(ag_tape *t, const ag_program *p, const char *what, const ag_var *xs, const ag_var *ys);

/* ---- scan.c ---- */
extern const ag_operation ag_scan_operation;
/* Of a scan that gives the states too: the parameters of the one that does not, and the shape of its result, which is
 * the first part. False for others. */
bool ag_scan_lesser(const void *params, size_t size, void *lesser, ag_shape *shape);

/* ---- scalars.c ---- */
/* p's operations on elements: x[k] and y are row-major elements of the inputs and, one after the other, the outputs. */
void ag_program_unroll(ag_tape *t, const ag_program *p, const ag_var *const *x, ag_var *y);
/* The same function with scalar operations only; its outputs are the elements of p's, each a scalar. */
ag_program *ag_program_scalars(const ag_program *p);
/* That for rows in lanes: elements of an output k with summed[k] are added to a last input, which has an element for each
 * scalar output. Given up (AG_ERR_MEMORY) when it has asked for so many bytes: products of large matrices have no end. */
ag_program *ag_program_row_scalars(const ag_program *p, const uint8_t *summed, size_t bytes);
/* The same program, with the same ports, with scalar operations only, if no tensor in it has more than `most` elements;
 * otherwise p. A reference for the caller. */
ag_program *ag_program_small(const ag_program *p, int64_t most);

/* ---- map.c ---- */
extern const ag_operation *const ag_builtin_map;
bool ag_is_map(const ag_operation *operation);
size_t ag_map_params_size(const ag_program *p);
void ag_map_set_params(void *params, const ag_program *p, int64_t rows, const uint8_t *along);
const ag_program *ag_map_program(const void *params);
int64_t ag_map_rows(const void *params);
ag_along ag_map_along(const void *params, int port); /* inputs, then outputs */

/* ---- names.c ---- */
/* No two of the inputs, or of the outputs, are called alike from now on. Names that were not given (NULL: all were) are made
 * and give way to others: they get a number, x1_2. Given names that are the same are an error of the function `refuse`; if
 * that is NULL, all but the first get a number. */
void ag_program_settle_names(ag_program *p, const ag_list *ports, const char *const *given, const char *refuse);

/* ---- freeze.c ---- */
/* `derived`: the names are not the user's. */
ag_program *ag_freeze_as(ag_tape *t, const char *what, const ag_var *xs, const char *const *x_names, int nx,
                         const ag_var *ys, const char *const *y_names, int ny, bool derived);

/* ---- trace.c ---- */
/* ag_program_trace with the type and the memory of p. */
ag_program *ag_trace_like(const ag_program *p, ag_model f, void *context, const ag_port *inputs, int nx,
                          const ag_port *outputs, int ny);

/* ---- verify.c ---- */
/* Whether a program is what its users may rely on: operands are defined before they are used, and lie inside their
 * values; shapes are those that the operations give; inputs and outputs are there. If not, it is in error from now on,
 * and the sentence names the instruction. Nothing but the lists' counts and the operations is trusted. */
bool ag_program_verify(ag_program *p);

#endif
