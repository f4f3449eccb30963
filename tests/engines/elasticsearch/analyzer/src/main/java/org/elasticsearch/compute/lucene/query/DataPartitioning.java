package org.elasticsearch.compute.lucene.query;

/** A placeholder: PlannerSettings reads this constant when it is loaded. */
public enum DataPartitioning {
    AUTO
}
