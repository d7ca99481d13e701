# Makes tests/unit/pipeline/microenvironment_golden.json: what R says of small examples.
#   Rscript tests/support/microenvironment_golden.R tests/unit/pipeline/microenvironment_golden.json
# Needs limma (Debian: r-bioc-limma), preprocessCore, e1071, randomForest and jsonlite. The tests need none of them.

suppressPackageStartupMessages({library(limma); library(preprocessCore); library(e1071); library(randomForest)})

# The example of limma's help page of lmFit: 100 genes, 3 + 3 arrays, variances scaled inverse chi-squared, two genes
# that differ. A second copy lacks cells, so that genes have different degrees of freedom.
moderated <- function(y) {
  fit <- eBayes(lmFit(y, cbind(Grp1 = 1, Grp2vs1 = c(0, 0, 0, 1, 1, 1))))
  list(y = y, coefficient = fit$coefficients[, 2], t = fit$t[, 2], p = fit$p.value[, 2],
       q = p.adjust(fit$p.value[, 2], "BH"), df_prior = fit$df.prior, s2_prior = fit$s2.prior)
}
set.seed(2004)
sd <- 0.3 * sqrt(4 / rchisq(100, df = 4))
y <- matrix(rnorm(100 * 6, sd = sd), 100, 6)
y[1:2, 4:6] <- y[1:2, 4:6] + 2
wide <- cbind(y, matrix(rnorm(100 * 6, sd = sd), 100, 6))
group <- rep(0:1, each = 6)
gaps <- wide
gaps[cbind(sample(100, 60), sample(12, 60, TRUE))] <- NA
with_gaps <- eBayes(lmFit(gaps, cbind(1, group)))
repeat {  # one variance for all genes: the prior has infinitely many degrees of freedom
  same <- matrix(rnorm(50 * 6), 50, 6)
  equal <- eBayes(lmFit(same, cbind(1, c(0, 0, 0, 1, 1, 1))))
  if (is.infinite(equal$df.prior)) break
}

welch <- apply(wide, 1, function(v) { r <- t.test(v[group == 1], v[group == 0]); c(r$statistic, r$parameter, r$p.value) })

# Spearman, with and without ties.
a <- matrix(rnorm(90 * 4), 90); b <- a + matrix(rnorm(90 * 4, sd = 3), 90); ties <- round(b)
spearman <- function(y, exact) sapply(1:4, function(j) {
  r <- suppressWarnings(cor.test(a[, j], y[, j], method = "spearman", exact = exact)); c(r$estimate, r$p.value)
})

# phyper of overlap k with k - 1, upper tail.
sets <- data.frame(overlap = c(0, 1, 3, 10, 30), size = c(40, 40, 12, 200, 40), selected = 208, background = 20000)
sets$p <- with(sets, phyper(overlap - 1, size, background - size, selected, lower.tail = FALSE))
sets$q <- p.adjust(sets$p, "BH")

# nu-regression of a mixture by a signature matrix, both standardised, as CIBERSORT describes it.
x <- matrix(rlnorm(80 * 5, 4, 1.5), 80); true <- c(0.5, 0.3, 0.15, 0.05, 0)
mixture <- as.vector(x %*% true) * exp(rnorm(80, sd = 0.3))
xs <- (x - mean(x)) / sd(as.vector(x)); ys <- (mixture - mean(mixture)) / sd(mixture)
svr <- sapply(c(0.25, 0.5, 0.75), function(nu) {
  m <- svm(xs, ys, type = "nu-regression", kernel = "linear", nu = nu, scale = FALSE)
  w <- pmax(t(m$coefs) %*% m$SV, 0); w <- w / sum(w); k <- as.vector(xs %*% t(w))
  c(w, cor(k, ys), sqrt(mean((k - ys)^2)))
})
best <- svr[, which.min(svr[7, ])]

normalised <- normalize.quantiles(cbind(c(5, 2, 3, 4), c(4, 1, 4, 2), c(3, 4, 6, 8)))

# Mean decrease in Gini: forests differ from each other, so ranks and sums are compared.
f <- matrix(rnorm(90 * 40), 90); class <- rep(0:1, 45); f[, 1:3] <- f[, 1:3] + 1.2 * class
forest <- randomForest(f, factor(class), ntree = 2000, importance = FALSE)

out <- list(
  lmfit = moderated(y),
  gaps = list(y = gaps, t = with_gaps$t[, 2], p = with_gaps$p.value[, 2], df_prior = with_gaps$df.prior,
              s2_prior = with_gaps$s2.prior),
  equal = list(y = same, t = equal$t[, 2], p = equal$p.value[, 2], s2_prior = equal$s2.prior),
  trigamma_inverse = list(y = c(1e-8, 0.01, 0.5, 1, 3, 50, 1e8), x = trigammaInverse(c(1e-8, 0.01, 0.5, 1, 3, 50, 1e8))),
  welch = list(y = wide, t = welch[1, ], df = welch[2, ], p = welch[3, ]),
  spearman = list(a = a, b = b, ties = ties, asymptotic = spearman(b, FALSE), exact = spearman(b, TRUE),
                  tied = spearman(ties, FALSE)),
  sets = sets,
  svr = list(x = x, mixture = mixture, weights = best[1:5], correlation = best[6], rmse = best[7]),
  quantiles = normalised,
  gini = list(x = f, class = class, decrease = as.vector(forest$importance)),
  versions = list(R = as.character(getRversion()), limma = as.character(packageVersion("limma")),
                  e1071 = as.character(packageVersion("e1071")), randomForest = as.character(packageVersion("randomForest")))
)
writeLines(jsonlite::toJSON(out, digits = I(12), auto_unbox = TRUE, na = "null"), commandArgs(TRUE)[1])
