/* Number, vector or matrix? What an expression alone tells, for the sign of a product. */
#include "nn/check/functions.h"
#include "nn/check/html/html_impl.h"

enum { MOST_VISITS = 300, MOST_LOCALS = 8 };

/* What is known on the way. */
typedef struct ranks {
    int visits;              /* that are left */
    int locals[MOST_LOCALS]; /* of the function whose body is looked at */
} ranks;

static int rank_of(ranks *r, const ac_node *node);

/* Of what is computed entry by entry: shapes are equal, or one of the two is a number. */
static int rank_of_entries(ranks *r, const ac_node *n) {
    int left = rank_of(r, n->operands[0]);
    if (left > 0) return left;
    int right = rank_of(r, n->operands[1]);
    return right > 0 || left == 0 ? right : AC_UNKNOWN_RANK;
}

static int rank_of_quantified(const ac_symbol *s) {
    switch (s->distribution) {
    case AC_NORMAL:
    case AC_POSITIVE: return s->parameter_count;
    case AC_UNIFORM: return s->parameter_count - 2;
    default: return 1;
    }
}

/* Of a body whose first locals have these ranks. */
static int rank_of_body(ranks *r, const ac_node *body, const int *locals) {
    int before[MOST_LOCALS];
    memcpy(before, r->locals, sizeof before);
    for (int i = 0; i < MOST_LOCALS; i++) r->locals[i] = locals == NULL ? AC_UNKNOWN_RANK : locals[i];
    int rank = rank_of(r, body);
    memcpy(r->locals, before, sizeof before);
    return rank;
}

static int rank_of_name(ranks *r, ac_symbol *s) {
    if (s->kind == AC_LOCAL) return s->index < MOST_LOCALS ? r->locals[s->index] : AC_UNKNOWN_RANK;
    if (s->kind == AC_QUANTIFIED) return rank_of_quantified(s);
    return ac_read_definition(s, NULL) ? rank_of_body(r, s->body, NULL) : AC_UNKNOWN_RANK;
}

static int rank_of_apply(ranks *r, const ac_node *n) {
    int locals[MOST_LOCALS];
    for (int i = 0; i < MOST_LOCALS; i++)
        locals[i] = i < n->operand_count ? rank_of(r, n->operands[i]) : AC_UNKNOWN_RANK;
    return ac_read_definition(n->symbol, NULL) ? rank_of_body(r, n->symbol->body, locals) : AC_UNKNOWN_RANK;
}

static int rank_of_product(int a, int b) {
    static const int ranks_of[3][3] = {
        {AC_UNKNOWN_RANK, AC_UNKNOWN_RANK, AC_UNKNOWN_RANK}, {AC_UNKNOWN_RANK, 0, 1}, {AC_UNKNOWN_RANK, 1, 2}};
    return a < 0 || b < 0 ? AC_UNKNOWN_RANK : ranks_of[a][b];
}

static bool is_one_of(const char *name, const char *const *names) {
    while (*names != NULL && strcmp(*names, name) != 0) names++;
    return *names != NULL;
}

static int rank_of_call(ranks *r, const ac_node *n) {
    static const char *const reductions[] = {"sum", "mean", "prod", "norm", "logsumexp", NULL};
    static const char *const numbers[] = {"dot", "trace", "det", "cross_entropy", "bce", "mse", "len", NULL};
    static const char *const matrices[] = {"outer", "inv", "eye", NULL};
    static const char *const sizes[] = {"ones", "zeros", NULL};
    static const char *const pairs[] = {"atan2", "hypot", "min", "max", NULL};
    const char *name = n->function->name;
    if (n->function->elementwise != NULL || strcmp(name, "softmax") == 0) return rank_of(r, n->operands[0]);
    if (is_one_of(name, numbers)) return 0;
    if (is_one_of(name, matrices)) return 2;
    if (is_one_of(name, sizes)) return n->operand_count;
    if (is_one_of(name, reductions)) return n->operand_count - 1;
    if (is_one_of(name, pairs)) return n->operand_count == 1 ? 0 : rank_of_entries(r, n);
    if (strcmp(name, "onehot") == 0) return 1;
    if (strcmp(name, "transpose") == 0) return 2;
    int diagonal = strcmp(name, "diag") == 0 ? rank_of(r, n->operands[0]) : 0;
    return diagonal > 0 ? 3 - diagonal : AC_UNKNOWN_RANK;
}

static int rank_of_index(ranks *r, const ac_node *n) {
    int rank = rank_of(r, n->operands[0]);
    for (int i = 1; i < n->operand_count && rank > 0; i++) rank -= n->operands[i] != NULL;
    return rank;
}

static int rank_of_list(ranks *r, const ac_node *n) {
    int rank = rank_of(r, n->operands[0]);
    return rank < 0 ? rank : rank + 1;
}

static int rank_of(ranks *r, const ac_node *n) {
    if (--r->visits < 0) return AC_UNKNOWN_RANK;
    switch (n->kind) {
    case AC_NUMBER: return 0;
    case AC_ARRAY: return n->shape.rank;
    case AC_LIST: return rank_of_list(r, n);
    case AC_NAME: return rank_of_name(r, n->symbol);
    case AC_NEGATE: return rank_of(r, n->operands[0]);
    case AC_TRANSPOSE: return rank_of(r, n->operands[0]) > 0 ? 2 : AC_UNKNOWN_RANK;
    case AC_ADD:
    case AC_SUBTRACT:
    case AC_MULTIPLY:
    case AC_DIVIDE:
    case AC_POWER: return rank_of_entries(r, n);
    case AC_MATMUL: return rank_of_product(rank_of(r, n->operands[0]), rank_of(r, n->operands[1]));
    case AC_INDEX: return rank_of_index(r, n);
    case AC_CALL: return rank_of_call(r, n);
    case AC_APPLY: return rank_of_apply(r, n);
    case AC_GRAD: return rank_of(r, n->operands[1]);
    case AC_JAC: return rank_of(r, n->operands[1]) > 0 ? 2 : AC_UNKNOWN_RANK;
    case AC_HESS: return rank_of(r, n->operands[1]) == 0 ? 0 : 2;
    case AC_SOLVE: return rank_of(r, n->operands[2]);
    }
    return AC_UNKNOWN_RANK;
}

int ac_html_rank(const ac_node *node) {
    ranks r = {.visits = MOST_VISITS};
    for (int i = 0; i < MOST_LOCALS; i++) r.locals[i] = AC_UNKNOWN_RANK;
    int rank = rank_of(&r, node);
    return rank > 2 ? AC_UNKNOWN_RANK : rank;
}
