import cv2
import numpy as np
import pytest
import torch

from lookalike.filtering.darknet import Convolution
from lookalike.filtering.detectors.yolov4_tiny import YoloDetector
from lookalike.filtering.untrained_yolo import write_untrained


def sigmoid(value):
    return 1 / (1 + np.exp(-value))


@pytest.mark.parametrize(("objectness", "person"), [(2.0, 1.0), (0.0, 3.0), (5.0, -4.0)])
def test_yolo_score_is_the_confidence_of_the_person_class(tmp_path, crops, objectness, person):
    cfg, weights = write_untrained(tmp_path, classes=4, divisor=16)
    detector = YoloDetector(cfg, weights)
    for convolution in detector._network.modules():
        if isinstance(convolution, Convolution) and not convolution.leaky:
            convolution.weight.zero_()
            convolution.bias.copy_(torch.tensor([0, 0, 0, 0, objectness, person, 5, 5, 5] * 3))
    expected = sigmoid(objectness) * sigmoid(person)
    assert detector.score(crops[:2]) == pytest.approx([expected] * 2, rel=1e-4)


def test_yolo_scores_as_opencv_does_crop_by_crop(tmp_path, crops):
    files = write_untrained(tmp_path, classes=80, divisor=1)
    assert files[1].stat().st_size == 24_251_276  # that of the published file
    detector = YoloDetector(*files)
    detector.batch_size = 2
    scores = detector.score(crops[:3])  # a batch and a half
    network = cv2.dnn.readNetFromDarknet(*map(str, files))
    for crop, score in zip(crops, scores, strict=False):
        network.setInput(cv2.dnn.blobFromImage(crop, 1 / 255, (416, 416)))
        boxes = np.concatenate(network.forward(network.getUnconnectedOutLayersNames()))
        assert score == pytest.approx(boxes[:, 5].max(), abs=1e-4)
    assert len(set(scores)) == 3
    mirrored = detector.score(crops[:1, :, :, ::-1])  # channels are not mixed up
    assert abs(mirrored[0] - scores[0]) > 1e-3
    assert detector.score(crops[:0]).shape == (0,)
