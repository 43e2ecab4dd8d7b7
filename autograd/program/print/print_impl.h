/* A program as C: what its files share.
 *
 *   text.c      text that grows, indented by its braces
 *   names.c     names of ports as identifiers
 *   table.c     the table's expressions as C: operators and calls in place, everything else as helper functions
 *   schedule.c  which instructions share a loop or an expression, in which order, and where values are kept
 *   body.c      instructions as statements
 *   routines.c  functions that operations call: linear algebra, random numbers
 *   nested.c    operations that run programs (maps, scans, roots) as loops; what may fail when the function runs
 *   print.c     functions, from the usage comment to the closing brace
 *   lanes.c     a function for a block of rows, in a loop that compilers vectorise, and one for many rows
 *   forms.c     what operations use to write their own loops */
#ifndef AG_PRINT_IMPL_H
#define AG_PRINT_IMPL_H

#include "../guard_impl.h"

typedef struct ag_text {
    ag_memory *memory;
    char *base;
    size_t size, count;
    int depth; /* of braces */
    bool failed;
} ag_text;

void ag_text_add(ag_text *t, const char *format, ...) AG_FORMAT_(2, 3);
/* A whole line, indented. One that ends in { indents those behind it; one that begins with } ends that. */
void ag_text_line(ag_text *t, const char *format, ...) AG_FORMAT_(2, 3);
void ag_text_vline(ag_text *t, const char *format, va_list args);
void ag_text_free(ag_text *t);
/* The identifier at *at or behind it, not in a comment; *at moves past it. Its length; 0: there is none. */
size_t ag_c_identifier(const char **at, const char **name);
/* Where an identifier is in the text from `from` on; NULL: nowhere. */
const char *ag_c_mention(const char *from, const char *name, size_t length);

/* ---- names.c ---- */
enum { NAME_ROOM = 64, C_NAME_LONGEST = 40 };
/* A valid identifier like `wanted` that is none of the `n` names there are and nothing that printed code uses. */
void ag_c_name(char *to, const char *wanted, char (*taken)[NAME_ROOM], size_t n);
/* A name as it may stand in a comment, of NAME_ROOM bytes at most: what could end the comment, or is neither ASCII nor a
 * Latin, Greek or Cyrillic letter, is an underscore. */
void ag_c_comment_name(char *to, const char *name);

/* ---- table.c ---- */

/* How tightly an expression binds: the greater, the looser. */
enum { BINDS_PRIMARY, BINDS_UNARY, BINDS_PRODUCT, BINDS_SUM, BINDS_COMPARE, BINDS_EQUAL, BINDS_CHOICE };

/* An operation as an expression in x, y and z; those stand in it once unless `once` is false. */
typedef struct ag_c_template {
    const char *text;
    int binds;
    bool helper; /* a call of the helper function, as the value is no simple expression */
    bool once;
} ag_c_template;
ag_c_template ag_c_template_of(uint32_t op);
/* How tightly an operand has to bind where `at` points in a template. */
int ag_c_binding_at(const char *text, const char *at);
/* The helper function of an operation and those that it needs; printed once each, `done` has a bit an operation. */
void ag_c_helper(ag_text *t, uint32_t op, ag_type type, uint8_t done[AG_OPCODES + 1]);
const char *ag_c_number_type(ag_type type);
/* A number that reads back to the same bits (of NaN, the sign). */
typedef struct ag_c_literal {
    char text[40];
} ag_c_literal;
ag_c_literal ag_c_literal_of(ag_type type, double number);
/* Text of the table up to the end of an identifier; or 1 for any other character. */
size_t ag_c_token(const char *text);
/* A function's text on lines of its own: a new one after ; and braces. */
void ag_c_code(ag_text *t, const char *text, ag_type type);
/* What token `at`, and what belongs to it, is in C; returns how much of the text that was. */
size_t ag_c_translate(ag_text *t, const char *at, ag_type type);

/* ---- schedule.c ---- */

typedef enum ag_c_home {
    HOME_NONE,
    HOME_EMPTY, /* no elements: an array that stands for it, where a statement mentions it */
    HOME_INPUT,
    HOME_LITERAL, /* a scalar constant */
    HOME_TABLE,   /* a constant array */
    HOME_INLINE,  /* part of the expression that uses it */
    HOME_LOCAL,   /* a scalar variable; in a loop, of its body */
    HOME_ARRAY,   /* an array variable */
    HOME_WORK,    /* in the work array; a tensor has a pointer there */
    HOME_OUTPUT   /* an output, all of it */
} ag_c_home;

typedef enum ag_c_kind { ITEM_SCALAR, ITEM_LOOP, ITEM_CALL, ITEM_OUTPUT } ag_c_kind;

/* Statements that belong together: a scalar's, a loop over tensors of one shape, a call, a copy to an output. */
typedef struct ag_c_item {
    ag_c_kind kind;
    uint32_t first, count; /* of `members`; ITEM_OUTPUT: first is its number */
} ag_c_item;

typedef struct ag_c_schedule {
    const ag_program *p;
    ag_memory *memory;
    uint32_t n;
    bool failed;
    uint8_t *uses, *weight, *home, *in_loop;
    uint32_t *consumer, *item, *last;
    int64_t *offset; /* HOME_WORK; HOME_OUTPUT: number of the output */
    ag_c_item *items;
    uint32_t item_count, members_count, *members;
    uint32_t parts, per_part; /* the function is split into that many */
    int64_t work;             /* elements of the work array */
} ag_c_schedule;

/* With `unnamed` outputs, each is an element of one array. */
bool ag_c_schedule_open(ag_c_schedule *s, const ag_program *p, ag_memory *memory, bool single_output);
void ag_c_schedule_close(ag_c_schedule *s);

/* ---- body.c and print.c ---- */

/* A program that is printed, or is inside of one. */
typedef struct ag_c_known {
    const ag_program *p;
    bool found_out, can_fail;
    const char *what; /* its function is called FILE_WHATNUMBER, once it has a number, */
    unsigned number;
    int64_t work; /* and needs so much of the work array */
} ag_c_known;

/* All that is printed of one program and those that it uses. */
typedef struct ag_c_file {
    ag_memory *memory;
    ag_c_options options;
    ag_type type;
    const char *name;
    ag_text helpers, functions;
    uint8_t helped[AG_OPCODES + 1];
    uint32_t routines; /* bits: which are printed */
    uint32_t inner;    /* functions for operations so far */
    int depth;         /* of programs in programs */
    int64_t work;      /* that the public function needs */
    bool wants_lanes;
    bool enclosed; /* only the rest of the file calls the function: compilers may make one of it and its caller */
    int64_t lanes_in, lanes_out; /* elements of inputs and outputs of NAME_lanes; 0: it is not there */
    ag_text checks;              /* of the usage comment: what it means when the function does not return 0 */
    int check_count;
    ag_range known; /* ag_c_known */
    uint32_t known_count;
    ag_status status;
    char message[640];
} ag_c_file;

void ag_c_fail(ag_c_file *f, ag_status status, const char *format, ...) AG_FORMAT_(3, 4);

/* How a function gets its inputs and outputs. */
typedef enum ag_c_style {
    STYLE_PUBLIC,   /* scalar inputs by value */
    STYLE_INNER,    /* all by pointer, but for what has no elements, which is no argument */
    STYLE_ELEMENTS, /* the same, inputs seen through views; a single output that has all elements */
    STYLE_LANES     /* element i of all inputs, one after the other, is in[i * C_LANES + l]; of outputs likewise */
} ag_c_style;
enum { C_LANES = 32 };

typedef struct ag_c_function {
    ag_c_file *file;
    const ag_program *p;
    ag_c_style style;
    const char *name;
    const ag_view *const *views; /* STYLE_ELEMENTS: of the inputs */
    char (*ports)[NAME_ROOM];    /* names of inputs, then outputs */
    uint8_t *used;               /* ports that statements of this part mention */
    uint32_t *declared;          /* of each value, the part where its pointer is known, and 1; tables: of the file */
    ag_c_schedule s;
    ag_text body; /* statements of the part that is written */
    uint32_t part;
    int64_t inner_work; /* what the functions that it calls need of the work array, behind s.work */
    int64_t taken;      /* what the call that is printed has of that */
} ag_c_function;

static inline uint64_t ag_c_ports(const ag_c_function *f) { return f->p->inputs.count + f->p->outputs.count; }

bool ag_c_open_function(ag_c_function *f, ag_c_file *file, const ag_program *p, const char *name, ag_c_style style,
                        const ag_view *const *views);
void ag_c_close_function(ag_c_function *f);
/* Whether input k is a number, not a pointer. */
bool ag_c_by_value(const ag_c_function *f, uint64_t k);

/* ---- lanes.c ---- */
/* Prints NAME_lanes, if the program is one for lanes: small, and nothing in it may fail. */
void ag_c_print_lanes(ag_c_file *file, const ag_program *p, const char *name);
/* The function for many rows: every input has a step, from one row to the next; 0: all rows read the same. */
void ag_c_print_rows(const ag_c_function *f, ag_text *t, int64_t work);
/* Declares vector versions of the functions of <math.h> that are called. */
void ag_c_declare_vector_maths(const ag_c_file *file, ag_text *t);
void ag_c_end_vector_maths(const ag_c_file *file, ag_text *t);

/* The statements of one item. */
void ag_c_item_body(ag_c_function *f, const ag_c_item *item);
/* Prints a function, after those that it needs, to file->functions; how much of a work array it needs. */
int64_t ag_c_print_function(ag_c_file *file, const ag_program *p, const char *name, ag_c_style style,
                            const ag_view *const *views);
/* The next `count` numbers of the work array that the call which is printed may use. */
typedef struct ag_c_place {
    char text[40]; /* "work + 8" */
    int64_t at;
} ag_c_place;
ag_c_place ag_c_room(ag_c_function *f, int64_t count);

/* ---- nested.c ---- */
/* Whether a printed function may fail when it runs: then it returns an int, 0 or the number of the check that failed. */
bool ag_c_can_fail(ag_c_file *file, const ag_program *p);
/* A program that is about to be freed. */
void ag_c_forget(ag_c_file *file, const ag_program *p);
/* The number of a new check, described in the usage comment; a name in it may hold anything. */
int ag_c_add_check(ag_c_file *file, const char *sentence, const char *name);
int ag_c_guard_check(ag_c_file *file, const ag_guarding *g);
/* A statement that calls a function; if that fails, the caller does. */
void ag_c_call(ag_text *t, const char *name, const ag_text *arguments, bool can_fail);
/* The loop of an operation that runs programs, with row-major operands. */
bool ag_holds_programs(const ag_operation *operation);
void ag_c_nested(ag_c_function *f, const ag_pcall *call, const char *const *in, const char *out, int64_t results);

/* A program as a file of C in `text`. False, with status and message in *file, after an error. */
bool ag_c_print_file(ag_c_file *file, const ag_program *p, const char *name, ag_text *text);
void ag_c_close_file(ag_c_file *file);

/* ---- forms.c ---- */
struct ag_c_form_state {
    ag_c_function *function;
};

#endif
