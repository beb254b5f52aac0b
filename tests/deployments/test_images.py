"""When another image means other processes."""

from app.deployments.service import is_image_of
from app.tables.deployment import Deployment
from app.tables.image import Image


def test_a_tag_that_is_to_be_looked_up_again_is_no_other_image() -> None:
    row = Deployment(image_id="exact")
    assert is_image_of(row, Image(id="exact"))
    assert is_image_of(row, Image(id="by tag", resolved_to="exact"))
    assert not is_image_of(row, Image(id="by tag", resolved_to="another"))
    assert not is_image_of(row, Image(id="by tag"))
    assert not is_image_of(Deployment(), Image(id="by tag"))
