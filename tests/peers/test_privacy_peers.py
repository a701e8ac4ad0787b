"""The privacy room beside scikit-learn, ART, and the other accountants of dp-accounting."""

import numpy as np
import pytest
import small_networks
from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent, SelfComposedDpEvent
from dp_accounting import gaussian_mechanism as gaussian
from dp_accounting.rdp import RdpAccountant
from sklearn import metrics

from medtk import privacy


@pytest.fixture(scope="module")
def scores():
    random = np.random.default_rng(5)
    # Rounded, so that ties within and between the two are many.
    return np.round(random.normal(0.7, 1, 300), 1), np.round(random.normal(0, 1, 500), 1)


def test_auc_and_rates_equal_scikit_learn(scores):
    member, score = np.repeat([1, 0], [300, 500]), np.concatenate(scores)
    false, true, _ = metrics.roc_curve(member, score, drop_intermediate=False)
    for fpr in (0.0, 0.01, 0.1):
        found = privacy.attack_success(*scores, fpr=fpr, repeats=5)
        assert found.auc == pytest.approx(metrics.roc_auc_score(member, score))
        assert found.tpr == pytest.approx(true[false <= fpr].max())
        assert found.advantage == pytest.approx((true - false).max())


def test_loss_score_equals_scikit_learn():
    random = np.random.default_rng(0)
    labels, probabilities = random.integers(0, 3, 40), random.dirichlet(np.ones(3), 40)
    theirs = metrics.log_loss(labels, probabilities, labels=[0, 1, 2])
    assert -privacy.loss_score(labels, probabilities).mean() == pytest.approx(theirs)


def test_gap_advantage_is_that_of_arts_rule():
    estimators = pytest.importorskip("art.estimators.classification", reason="adversarial-robustness-toolbox is absent")
    from art.attacks.inference.membership_inference import MembershipInferenceBlackBoxRuleBased

    network = small_networks.settled()
    wrapped = estimators.TensorFlowV2Classifier(network, nb_classes=3, input_shape=small_networks.SHAPE)
    attack = MembershipInferenceBlackBoxRuleBased(wrapped)
    sides = [small_networks.images_and_labels(40, seed=seed) for seed in (0, 1)]
    sides[0] = (sides[0][0], network.predict(sides[0][0], verbose=0).argmax(axis=1))
    sides[0][1][:10] += 1
    sides[0][1][:] %= 3
    called = [attack.infer(*side).mean() for side in sides]
    ours = privacy.gap_advantage(*[(labels, network.predict(images, verbose=0)) for images, labels in sides])
    assert ours == pytest.approx(called[0] - called[1]) and ours > 0.2


@pytest.mark.parametrize(
    ("noise", "rate", "steps", "delta"), [(1.0, 0.25, 4, 1e-3), (1.1, 0.01, 500, 1e-5), (2.0, 1.0, 15, 1e-4)]
)
def test_renyi_accounting_is_looser_but_not_far(noise, rate, steps, delta):
    event = SelfComposedDpEvent(PoissonSampledDpEvent(rate, GaussianDpEvent(noise)), steps)
    renyi = RdpAccountant().compose(event).get_epsilon(delta)
    ours = privacy.epsilon(noise, rate, steps, delta)
    assert 0.7 * renyi < ours < renyi


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 8.0])
def test_noise_for_one_release_equals_the_analytic_calibration(epsilon):
    theirs = gaussian.get_sigma_gaussian(epsilon, 1e-5)
    assert privacy.noise_for(epsilon, 1.0, 1, 1e-5) == pytest.approx(theirs, rel=1e-3)
    assert privacy.gaussian_delta(epsilon, theirs) == pytest.approx(1e-5, rel=1e-4)
