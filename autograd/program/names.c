/* Names of inputs and outputs: no two inputs are called alike, and no two outputs. */
#include "../support/hash_impl.h"
#include "program_impl.h"

/* That a port has a name. */
typedef struct ag_named {
    uint32_t port;
    uint32_t count; /* of ports that wanted this name and got others, and 1: their numbers are at most so high */
    UT_hash_handle hh;
} ag_named;

typedef struct ag_naming {
    ag_program *p;
    const ag_list *ports;
    ag_named *all;   /* by port */
    ag_named *table; /* those of ports that have got a name */
} ag_naming;

static ag_pport *port_at(const ag_list *ports, uint64_t k) { return (ag_pport *)(void *)ports->range.base + k; }

static const char *name_of(const ag_naming *n, uint64_t k) { return ag_name_at(n->p, port_at(n->ports, k)->name); }

static void no_memory(ag_program *p) {
    ag_program_fail(p, AG_ERR_MEMORY, "program: out of memory: it holds %zu bytes", p->memory.held);
}

static ag_named *find(const ag_naming *n, const char *name) {
    ag_named *found;
    HASH_FIND_STR(n->table, name, found);
    return found;
}

static void take(ag_naming *n, uint32_t k) {
    ag_memory *memory = &n->p->memory;
    ag_named *named = &n->all[k];
    const char *name = name_of(n, k);
    *named = (ag_named){.port = k, .count = 1};
    HASH_ADD_KEYPTR(hh, n->table, name, strlen(name), named);
    if (!named->hh.tbl) no_memory(n->p);
}

/* Ports whose names were made, or were not, take them if they are free. The bytes that other names will need at most. */
static size_t take_free(ag_naming *n, const char *const *given, bool made, const char *refuse) {
    size_t room = 0;
    for (uint32_t k = 0; k < n->ports->count && n->p->status == AG_OK; k++) {
        if ((given && !given[k]) != made) continue;
        const char *name = name_of(n, k);
        const ag_named *other = find(n, name);
        if (!other) take(n, k);
        else if (!made && refuse)
            ag_program_fail(n->p, AG_ERR_VALUE, "%s: %s %u and %u are both called \"%.200s\"", refuse,
                            n->ports == &n->p->inputs ? "inputs" : "outputs", other->port, k, name);
        room += other ? strlen(name) + sizeof "_4294967295" : 0;
    }
    return room;
}

/* Ports that have no name of their own get the one that they have with a number that makes it free. */
static void number_others(ag_naming *n, size_t room) {
    ag_program *p = n->p;
    char *at = ag_list_add(p, &p->names, 1, room);
    if (!at) return;
    const char *end = at + room;
    for (uint32_t k = 0; k < n->ports->count; k++) n->all[k].hh.key = name_of(n, k); /* they may have moved */
    for (uint32_t k = 0; k < n->ports->count && p->status == AG_OK; k++) {
        if (n->all[k].hh.tbl) continue;
        ag_named *other = find(n, name_of(n, k));
        do (void)snprintf(at, (size_t)(end - at), "%s_%u", name_of(n, k), ++other->count);
        while (find(n, at));
        port_at(n->ports, k)->name = (uint32_t)(at - ag_name_at(p, 0));
        take(n, k);
        at += strlen(at) + 1;
    }
}

void ag_program_settle_names(ag_program *p, const ag_list *ports, const char *const *given, const char *refuse) {
    ag_memory *memory = &p->memory;
    size_t size = ports->count * sizeof(ag_named);
    if (p->status != AG_OK || ports->count < 2) return;
    ag_naming n = {.p = p, .ports = ports, .all = ag_memory_zeroed(memory, size)};
    if (n.all) {
        size_t room = take_free(&n, given, false, refuse);
        room += take_free(&n, given, true, refuse);
        if (room) number_others(&n, room);
        HASH_CLEAR(hh, n.table);
        ag_memory_free(memory, n.all, size);
    } else no_memory(p);
}
