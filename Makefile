# SPDX-License-Identifier: Apache-2.0
# Placeholder targets grow below; outputs go to build/ only.
.DEFAULT_GOAL := all
