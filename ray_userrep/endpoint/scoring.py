"""The model that a transfer kept, beside the encoder that is served: vectors of another one mean nothing to it.

A transfer writes the encoder of its head anew, so that files may differ where vectors do not: what is compared is the
weights, and where users are read out.
"""

from ray_userrep import storage
from ray_userrep.encoder.folder import fingerprint, read_out_at
from ray_userrep.errors import UserError
from ray_userrep.transfer.model import ENCODER, LabelModel, load_model


def served_model(model_uri: str, encoder_uri: str) -> LabelModel:
    """The model in a folder, which was made for the encoder in another.

    Raises:
        UserError: there is no whole model, or it was made for another encoder.
    """
    model, own = load_model(model_uri), storage.join(model_uri, ENCODER)
    if (fingerprint(own), read_out_at(own)) != (fingerprint(encoder_uri), read_out_at(encoder_uri)):
        raise UserError(
            f"serve.model: {model_uri} was made for another encoder than {encoder_uri}: serve that of the model, "
            f"--encoder {model_uri}"
        )
    return model
