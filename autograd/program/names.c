/* Names of inputs and outputs: no two inputs are called alike, and no two outputs. */
#include "program_impl.h"

#include <stdlib.h>

typedef struct ag_named {
    const char *name;
    uint32_t number, before; /* of its port; ports of this name that keep it or come before it */
    bool made;
} ag_named;

/* By name; those that were given before those that were made, which give way. */
static int compare(const void *x, const void *y) {
    const ag_named *a = x, *b = y;
    int order = strcmp(a->name, b->name);
    if (order) return order;
    if (a->made != b->made) return a->made ? 1 : -1;
    return a->number < b->number ? -1 : a->number > b->number;
}

static int compare_numbers(const void *x, const void *y) {
    const ag_named *a = x, *b = y;
    return a->number < b->number ? -1 : a->number > b->number;
}

static ag_pport *port_at(const ag_list *ports, uint64_t k) { return (ag_pport *)(void *)ports->range.base + k; }

static bool is_free(const ag_program *p, const ag_list *ports, const char *name) {
    for (uint64_t k = 0; k < ports->count; k++)
        if (strcmp(ag_name_at(p, port_at(ports, k)->name), name) == 0) return false;
    return true;
}

/* The name with a number behind it that nothing else is called. */
static void rename_port(ag_program *p, const ag_list *ports, const ag_named *named) {
    ag_pport *port = port_at(ports, named->number);
    size_t size = strlen(ag_name_at(p, port->name)) + 12;
    uint64_t at = p->names.count;
    char *name = ag_list_add(p, &p->names, 1, size);
    uint32_t k = named->before + 1;
    if (!name) return;
    do (void)snprintf(name, size, "%s_%u", ag_name_at(p, port->name), k++);
    while (!is_free(p, ports, name));
    port->name = (uint32_t)at;
}

void ag_program_settle_names(ag_program *p, const ag_list *ports, const char *const *given, const char *refuse) {
    size_t n = ports->count, size = n * sizeof(ag_named) + 1;
    if (p->status != AG_OK) return;
    ag_named *all = ag_memory_resize(&p->memory, NULL, 0, size);
    if (!all) {
        ag_program_fail(p, AG_ERR_MEMORY, "program: out of memory: it holds %zu bytes", p->memory.held);
        return;
    }
    for (uint32_t k = 0; k < n; k++)
        all[k] = (ag_named){.name = ag_name_at(p, port_at(ports, k)->name), .number = k, .made = given && !given[k]};
    qsort(all, n, sizeof *all, compare);
    bool differ = true;
    for (size_t k = 1; k < n; k++) {
        if (strcmp(all[k].name, all[k - 1].name) != 0) continue;
        if (refuse && !all[k].made)
            ag_program_fail(p, AG_ERR_VALUE, "%s: %s %u and %u are both called \"%.200s\"", refuse,
                            ports == &p->inputs ? "inputs" : "outputs", all[k - 1].number, all[k].number, all[k].name);
        all[k].before = all[k - 1].before + 1;
        differ = false;
    }
    if (!differ) qsort(all, n, sizeof *all, compare_numbers);
    for (size_t k = 0; k < n && !differ; k++)
        if (all[k].before) rename_port(p, ports, &all[k]);
    ag_memory_free(&p->memory, all, size);
}
