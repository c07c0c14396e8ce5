# Container images: see docs/install.md, "Images".
IMAGES_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/howdah/images
BASE ?=

.PHONY: images
images: ## build the container images as archives in ~/.cache/howdah/images (BASE=local: without a registry)
	@BASE=$(BASE) images/build.sh $(IMAGES_DIR) $(IMAGES)
