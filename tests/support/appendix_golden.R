# Makes tests/unit/pipeline/appendix_golden.json: what R says of a small table of patients.
#   Rscript tests/support/appendix_golden.R tests/unit/pipeline/appendix_golden.json
# Needs jsonlite. The tests do not need R.

set.seed(2021)
n <- 150
patients <- data.frame(
  cohort = rep(c("a", "b", "c"), each = 50), age = round(rnorm(n, 52, 10), 1),
  stage = sample(c("T1", "T2", "T3"), n, TRUE, c(0.5, 0.4, 0.1)), er = sample(0:1, n, TRUE, c(0.3, 0.7))
)
patients$aln <- rbinom(n, 1, plogis(-4 + 0.05 * patients$age + 0.8 * (patients$stage != "T1")))
two <- subset(patients, cohort != "c")
odds <- function(formula) {
  m <- glm(formula, binomial, patients); s <- summary(m)$coefficients[-1, , drop = FALSE]
  list(ratio = exp(s[, 1]), low = exp(s[, 1] - qnorm(0.975) * s[, 2]), high = exp(s[, 1] + qnorm(0.975) * s[, 2]),
       p = s[, 4], p_column = anova(m, test = "LRT")[["Pr(>Chi)"]][2])
}
model <- rbinom(n, 1, ifelse(patients$aln == 1, 0.8, 0.25)); reader <- rbinom(n, 1, ifelse(patients$aln == 1, 0.55, 0.1))
right_model <- model == patients$aln; right_reader <- reader == patients$aln
only <- c(sum(right_model & !right_reader), sum(!right_model & right_reader))
out <- list(
  patients = patients, model = model, reader = reader,
  t_two = t.test(age ~ cohort, two)$p.value,
  anova_three = summary(aov(age ~ cohort, patients))[[1]][["Pr(>F)"]][1],
  chisq_stage = suppressWarnings(chisq.test(table(patients$stage, patients$cohort))$p.value),
  chisq_er_two = chisq.test(table(two$er, two$cohort))$p.value,
  age = odds(aln ~ age), stage = odds(aln ~ stage),
  mcnemar = list(only = only, p = binom.test(only[1], sum(only))$p.value)
)
writeLines(jsonlite::toJSON(out, digits = I(12), auto_unbox = TRUE, dataframe = "columns"), commandArgs(TRUE)[1])
