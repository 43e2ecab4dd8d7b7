/* Dropout. */
#include "nn/layers/parts.h"
#include "nn/model_impl.h"

nn_dropout nn_dropout_init(nn_model *model, const char *name, double probability) {
    nn_dropout layer = {model, probability, 0};
    if (model == NULL) return layer;
    if (name == NULL || *name == '\0') ag_fail(nn_model_tape(model), AG_ERR_VALUE, "dropout: no name");
    else if (!(probability >= 0 && probability < 1))
        ag_fail(nn_model_tape(model), AG_ERR_VALUE, "dropout %.80s: a probability of %g, not 0 to below 1", name,
                probability);
    else layer.key = nn_model_key(model, name);
    return layer;
}

ag_var nn_dropout_apply(nn_dropout layer, ag_var x) {
    if (!nn_drops(layer) || ag_is_inert(x)) return x;
    return ag_dropout(x, layer.probability, nn_model_next_key(layer.model, layer.key), nn_model_clock(layer.model));
}
